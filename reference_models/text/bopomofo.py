"""Pinyin to bopomofo to phones: one Mandarin syllable at a time.

A syllable is kept as a string of bopomofo letters and tone marks, `"ㄏㄠˇ"`; the first tone has no mark until it is
spoken (`ˉ`). Phones are those of the release (Amphion: models/tts/maskgct/g2p/g2p/mandarin.py): an onset, and a rime
that carries the tone as arrows: `hao3 -> ["x", "ɑʊ↓↑"]`.

Kept in both modes, because the published weights know nothing else: zhi, chi, shi, ri, zi, ci and si in the neutral
tone are their bare onset (`zi5 -> ["ts⁼"]`). The phone `ts⁼ɹ` without an arrow is in the table, but the release never
emits it.
"""

from __future__ import annotations

import re

TONE_MARKS = {"0": "˙", "5": "˙", "1": "", "2": "ˊ", "3": "ˇ", "4": "ˋ"}

_ARROWS = {"ˉ": "→", "ˊ": "↑", "ˇ": "↓↑", "ˋ": "↓", "˙": ""}
_SYLLABIC = frozenset("ㄓㄔㄕㄖㄗㄘㄙ")  # onsets that can stand without a written rime
_LABIAL = frozenset("ㄅㄆㄇㄈ")


def _table(entries: str) -> dict[str, tuple[str, str]]:
    """`pinyin bopomofo phone` entries as pinyin -> (bopomofo, phone)."""
    rows = (entry.split() for entry in entries.split(",") if entry.strip())
    return {pinyin: (letters, phone) for pinyin, letters, phone in rows}


_ONSETS = _table("""
    b ㄅ p⁼, p ㄆ pʰ, m ㄇ m, f ㄈ f, d ㄉ t⁼, t ㄊ tʰ, n ㄋ n, l ㄌ l, g ㄍ k⁼, k ㄎ kʰ, h ㄏ x,
    j ㄐ tʃ⁼, q ㄑ tʃʰ, x ㄒ ʃ, zh ㄓ ts`⁼, ch ㄔ ts`ʰ, sh ㄕ s`, r ㄖ ɹ`, z ㄗ ts⁼,
    c ㄘ tsʰ, s ㄙ s
""")
# Rimes as pinyin writes them after an onset; ü is v.
_RIMES = _table("""
    a ㄚ a, o ㄛ o, e ㄜ ə, ê ㄝ ɛ, er ㄦ əɹ, ai ㄞ aɪ, ei ㄟ eɪ, ao ㄠ ɑʊ, ou ㄡ oʊ,
    an ㄢ an, en ㄣ ən, ang ㄤ ɑŋ, eng ㄥ əŋ,
    i ㄧ i, ia ㄧㄚ ia, ie ㄧㄝ iɛ, iao ㄧㄠ iɑʊ, iu ㄧㄡ ioʊ, ian ㄧㄢ jɛn, in ㄧㄣ in, iang ㄧㄤ iɑŋ, ing ㄧㄥ iŋ,
    u ㄨ u, ua ㄨㄚ ua, uo ㄨㄛ uo, uai ㄨㄞ uaɪ, ui ㄨㄟ ueɪ, uan ㄨㄢ uan, un ㄨㄣ uən, uang ㄨㄤ uɑŋ,
    ong ㄨㄥ ʊŋ, v ㄩ ɥ, ve ㄩㄝ ɥɛ, van ㄩㄢ ɥæn, vn ㄩㄣ ɥn, iong ㄩㄥ jʊŋ,
""")
_ONSET_PHONES = dict(_ONSETS.values())
_RIME_PHONES = dict(_RIMES.values())

# Spellings that no rule gives. "hm" is spoken as "hen": the two onsets that the release writes are no phone ("xm").
_IRREGULAR = {
    "m": "ㄇㄨ",
    "n": "ㄣ",
    "ng": "ㄣ",
    "hm": "ㄏㄣ",
    "hng": "ㄏㄥ",
    "yo": "ㄧㄛ",
    "yai": "ㄧㄞ",
    "tzan": "ㄗㄢ",
    "tsuo": "ㄘㄨㄛ",
}
# Without an onset, i, u and v are written y, w and yu; these do not follow from replacing the letter.
_BARE = {"you": "iu", "yong": "iong", "wei": "ui", "wen": "un", "weng": "ong", "wong": "ong"}

# Syllables that pypinyin and our rules know and the table of the release (`sources/pinyin_2_bpmf.txt`) lacks.
UNKNOWN_TO_RELEASE = frozenset(["bong", "cei", "fiao", "hng", "len", "nia", "ê"])


def _split(pinyin: str) -> tuple[str, str]:
    """Onset and rime in the spelling of `_ONSETS` and `_RIMES`: `yuan -> ("", "van")`, `jue -> ("j", "ve")`."""
    onset = next((o for o in (pinyin[:2], pinyin[:1]) if o in _ONSETS), "")
    rime = pinyin[len(onset) :]
    if not onset:
        rime = _BARE.get(rime, rime)
        rime = re.sub("^y[uv]", "v", rime)
        rime = re.sub("^yi?", "i", rime)
        rime = re.sub("^wu?", "u", rime)
    elif onset in ("j", "q", "x"):
        rime = re.sub("^u", "v", rime)
    elif rime == "ue":  # nue, lue
        rime = "ve"
    return onset, rime


def to_bopomofo(pinyin: str) -> str | None:
    """Bopomofo letters of a pinyin syllable without tone (ü as v, or u where usual), None if it is no syllable."""
    if pinyin in _IRREGULAR:
        return _IRREGULAR[pinyin]
    onset, rime = _split(pinyin)
    letters = _ONSETS[onset][0] if onset else ""
    if rime == "i" and letters in _SYLLABIC:
        return letters
    return letters + _RIMES[rime][0] if rime in _RIMES else None


def read_pinyin(pinyin: str, *, official: bool = False) -> str | None:
    """A syllable with its tone digit (`hao3`) as bopomofo with its tone mark, or None if it is not known.

    `official`: the syllables that the table of the release lacks are not known.
    """
    letters, tone = pinyin[:-1], pinyin[-1:]
    if tone not in TONE_MARKS or (official and letters in UNKNOWN_TO_RELEASE):
        return None
    if official and letters == "hm":
        return "ㄏㄇ" + TONE_MARKS[tone]
    bopomofo = to_bopomofo(letters)
    return None if bopomofo is None else bopomofo + TONE_MARKS[tone]


def to_phones(syllable: str) -> list[str]:
    """Phones of one syllable; what is not bopomofo (punctuation, characters without a reading) stays as it is.

    A second tone mark becomes a phone of its own: official sandhi writes such syllables (see `sandhi`).
    """
    letters = syllable.rstrip("".join(_ARROWS))
    marks = syllable[len(letters) :] or ("ˉ" if re.search("[ㄅ-ㄩ]$", letters) else "")
    arrows = [_ARROWS[mark] for mark in marks]
    phones = _letters_to_phones(letters)
    if letters in _SYLLABIC and marks[:1] != "˙":
        phones[-1] += "ɹ"
    if arrows and phones:
        phones[-1] += arrows[0]
    return phones + [arrow for arrow in arrows[1:] if arrow]


def _letters_to_phones(letters: str) -> list[str]:
    match = re.fullmatch("([ㄅ-ㄙ]*)([ㄚ-ㄩ]*)", letters)
    if match is None:
        return [letters] if letters else []
    onset, rime = match.groups()
    onset_phone = "".join(_ONSET_PHONES[letter] for letter in onset)  # one letter, save for the "hm" of the release
    if onset in _LABIAL and rime == "ㄛ":
        return [onset_phone + "wo"]
    phones = [onset_phone] if onset else []
    if rime in _RIME_PHONES:
        return [*phones, _RIME_PHONES[rime]]
    return phones + [_RIME_PHONES[letter] for letter in rime]  # yo, yai: two rimes in a row, as in the release
