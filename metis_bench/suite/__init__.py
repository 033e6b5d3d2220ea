"""From YAML to a resolved suite, and from a suite to a plan."""
