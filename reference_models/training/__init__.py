"""Recipes: how every model of the family is trained, from waveforms to files that `open_source` opens."""
