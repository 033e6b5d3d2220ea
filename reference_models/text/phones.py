"""The 363 phones of the release and their ids (Amphion: models/tts/maskgct/g2p/g2p/vocab.json).

There is no id for begin, end, unknown or padding: the model pads with the last row of its table, and the release drops
phones that are not listed here (`encode` reports them).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

GAP = "_"  # between two words
MARKS = ",.?!:;'…"  # punctuation that is a phone of its own

_TONES = ("→", "↑", "↓↑", "↓")  # Mandarin tones 1 to 4; the neutral tone has no sign

# In the order of their ids. `x*` stands for x in the neutral tone and in the four others, `x+` for the four others.
_TABLE = r"""
, . ? ! _
iː ɪ ɜː ɚ oːɹ ɔː ɔːɹ ɑː uː ʊ ɑːɹ ʌ ɛ æ eɪ aɪ ɔɪ aʊ oʊ ɪɹ ɛɹ ʊɹ
p b t d k ɡ f v θ ð s z ʃ ʒ h tʃ dʒ m n ŋ j w ɹ l tɹ dɹ ts dz
i ɔ ə ɾ iə r u oː ɛː ɪː aɪə aɪɚ ɑ\u0303 \u00e7 ɔ\u0303 ææ ɐɐ ɡʲ nʲ iːː
p⁼ pʰ t⁼ tʰ k⁼ kʰ x tʃ⁼ tʃʰ ts`⁼ ts`ʰ s` ɹ` ts⁼ tsʰ
p⁼wo* pʰwo* mwo* fwo* jɛn* ɥæn* in* ɥn* iŋ* ʊŋ* jʊŋ*
ia* iɛ* iɑʊ* ioʊ* iɑŋ* ua* uo* uaɪ* ueɪ* uan* uən* uɑŋ* ɥɛ*
a* o* ə+ ɛ+ aɪ+ eɪ+ ɑʊ* oʊ+ an* ən* ɑŋ* əŋ* əɹ* i+ u+ ɥ*
ts`⁼ɹ* ts`ʰɹ* s`ɹ* ɹ`ɹ* ts⁼ɹ* tsʰɹ* sɹ*
ɯ e aː ɯː eː c\u0327 ɸ ɰᵝ ɴ g dʑ q ː bj tɕ dej tej gj gɯ c\u0327j kj kɯ mj nj pj ɾj ɕ tsɯ
ɐ ɑ ɒ ɜ ɫ ʑ ʲ y ø œ ʁ \u0303 ɲ
: ; ' …
"""


def _expand(entry: str) -> list[str]:
    base, kind = entry[:-1], entry[-1]
    if kind not in "*+":
        return [entry]
    return [base] * (kind == "*") + [base + tone for tone in _TONES]


def _phones() -> tuple[str, ...]:
    # the accents are escapes above because \u00e7 and c\u0327 are two phones that look alike
    table = _TABLE.replace(r"\u0303", "\u0303").replace(r"\u0327", "\u0327").replace(r"\u00e7", "\u00e7")
    return tuple(phone for entry in table.split() for phone in _expand(entry))


PHONES: tuple[str, ...] = _phones()
PHONE_IDS: dict[str, int] = {phone: i for i, phone in enumerate(PHONES)}


@dataclass(frozen=True)
class Phones:
    """A text as phones. symbols: as pronounced; ids: of those in the table, in order; dropped: those that are not."""

    symbols: tuple[str, ...]
    ids: tuple[int, ...]
    dropped: tuple[str, ...]

    @property
    def speech(self) -> bool:
        """Is there anything to say besides gaps and punctuation?"""
        return any(PHONES[i] not in MARKS + GAP for i in self.ids)


def encode(symbols: Iterable[str]) -> Phones:
    """`symbols` with their ids."""
    symbols = tuple(symbols)
    return Phones(
        symbols,
        ids=tuple(PHONE_IDS[s] for s in symbols if s in PHONE_IDS),
        dropped=tuple(s for s in symbols if s not in PHONE_IDS),
    )
