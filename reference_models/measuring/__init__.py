"""How fast this machine generates: the default mode beside the official mode, and what its arithmetic could give."""
