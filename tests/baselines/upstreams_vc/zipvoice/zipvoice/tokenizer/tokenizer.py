"""The tokenizer of the released model."""

from __future__ import annotations

from fake_tools import record


class EmiliaTokenizer:
    def __init__(self, token_file: str | None = None, token_type: str = "phone") -> None:
        record("tokenizer", file=token_file)
        self.vocab_size, self.pad_id = 360, 7
