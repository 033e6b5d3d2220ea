"""From results.json to HTML, markdown and CSV."""
