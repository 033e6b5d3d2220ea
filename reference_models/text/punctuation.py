"""French and German punctuation, reduced to what the phone table has (Amphion: maskgct/g2p/g2p/{french,german}.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping

_COMMAS, _DOTS, _HYPHENS = "：；，·、", "。…$\n", "～~"
_DROPPED = "“”‘’（）()《》【】[]—「」¿¡"
_FIRST = str.maketrans(
    {
        **dict.fromkeys(_COMMAS, ","),
        **dict.fromkeys(_DOTS, "."),
        **dict.fromkeys(_HYPHENS, "-"),
        **dict.fromkeys(_DROPPED, ""),
        "！": "!",
        "？": "?",
    }
)
_THEN = str.maketrans({";": ",", ":": ",", "-": " "})


def plain_punctuation(text: str, words: Mapping[str, str] | None = None) -> str:
    """`text` with , . ! ? and ' only; `words` are said for single symbols, such as {'&': ' et '}."""
    text = text.replace("...", ".").translate(_FIRST).translate(_THEN)
    text = text.translate({ord(symbol): word for symbol, word in (words or {}).items()})
    text = re.sub(r'[<>()\[\]"«»]+', "", text)
    text = re.sub(r"^[,.!?]+", "", text)
    return re.sub(r"\s+", " ", text).strip()
