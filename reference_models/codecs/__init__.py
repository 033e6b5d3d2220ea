"""The tokenisers that Metis reads and writes: semantic (RepCodec), acoustic (RVQ + Vocos)."""
