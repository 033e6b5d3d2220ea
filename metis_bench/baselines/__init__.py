"""Competitors, each in an environment of its own: what they are (manifest), and how they are run (host and worker)."""
