"""Speech recognisers that WER metrics use as extractors."""
