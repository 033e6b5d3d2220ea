"""ZipVoice: of its many sizes, two."""

from fake_tools import Module, record


class ZipVoice(Module):
    def __init__(self, fm_decoder_dim: int = 512, feat_dim: int = 100, vocab_size: int = 26, pad_id: int = 0) -> None:
        record("network", dim=fm_decoder_dim, vocab_size=vocab_size, pad_id=pad_id)
