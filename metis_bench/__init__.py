"""metis-bench: a benchmark and evaluation harness for speech generation."""

__version__ = "0.1.0"
