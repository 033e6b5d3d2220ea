"""Seeds from names and numbers."""

from __future__ import annotations

import hashlib
import json


def derive_seed(*parts: str | int, bits: int = 32) -> int:
    """A seed that depends on every part and on nothing else (not on order, batch or process)."""
    text = json.dumps(list(parts), separators=(",", ":"), ensure_ascii=False)
    return int(hashlib.sha256(text.encode()).hexdigest()[: bits // 4], 16)
