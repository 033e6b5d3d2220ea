"""Speaker encoders that SIM metrics use as extractors."""
