"""Katakana to the phones of the release (Amphion: models/tts/maskgct/g2p/g2p/japanese.py)."""

from __future__ import annotations

import re

from reference_models.errors import InputError
from reference_models.text.tokenizer import Mode

_VOWELS = "aiueo"


def _morae(rows: str) -> dict[str, list[str]]:
    """`consonant: vowel+kana ...` rows as kana -> [consonant, vowel]; consonant and vowel are two phones."""
    morae: dict[str, list[str]] = {}
    for row in rows.split(";"):
        consonant, _, kana = row.partition(":")
        for mora in kana.split():
            morae[mora[1:]] = [*consonant.split(), mora[0]]
    return morae


_OFFICIAL = {
    **_morae("""
        : aア iイ uウ eエ oオ aァ iィ uゥ eェ oォ iヰ eヱ oヲ; k: aカ iキ uク eケ oコ eヶ; g: aガ iギ uグ eゲ oゴ;
        s: aサ iスィ uス eセ oソ; z: aザ iズィ uズ eゼ oゾ uヅ; t: aタ iティ uトゥ eテ oト; d: aダ iディ uドゥ eデ oド;
        n: aナ iニ uヌ eネ oノ; h: aハ iヒ eヘ oホ; f: aファ iフィ uフ eフェ oフォ; m: aマ iミ uム eメ oモ;
        b: aバ iビ uブ eベ oボ; p: aパ iピ uプ eペ oポ; v: aヴァ iヴィ uヴ eヴェ oヴォ;
        y: aヤ uユ eイェ oヨ aャ uュ oョ; r: aラ iリ uル eレ oロ; w: aワ iウィ eウェ oウォ aヮ;
        ky: aキャ uキュ eキェ oキョ; gy: aギャ uギュ eギェ oギョ; kw: aクヮ; gw: aグヮ;
        sh: aシャ iシ uシュ eシェ oショ; j: aジャ iジ uジュ eジェ oジョ iヂ; ch: aチャ iチ uチュ eチェ oチョ;
        ts: aツァ iツィ uツ eツェ oツォ; ty: aテャ uテュ oテョ; dy: aデャ uデュ oデョ;
        ny: aニャ uニュ eニェ oニョ; hy: aヒャ uヒュ eヒェ oヒョ; by: aビャ uビュ eビェ oビョ aヴャ uヴュ oヴョ;
        py: aピャ uピュ eピェ oピョ; my: aミャ uミュ eミェ oミョ; ry: aリャ uリュ eリェ oリョ
    """),
    "ン": ["N"],
    "ッ": ["q"],
}
# With what the release lacks: it falls apart there (フュ -> フ, ュ) or cannot be read.
_FIXED = _OFFICIAL | _morae("""
    k: aヵ; j: aヂャ uヂュ eヂェ oヂョ; kw: aクァ iクィ eクェ oクォ; gw: aグァ iグィ eグェ oグォ;
    f y: aフャ uフュ oフョ; v: aヷ iヸ eヹ oヺ
""")

# \u0327 is the cedilla: the release writes c and cedilla here; the single letter \u00e7 is another phone.
_IPA = dict(
    pair.split(":")
    for pair in [
        "u:ɯ",
        "h:ç",
        "f:ɸ",
        "y:j",
        "r:ɾ",
        "w:ɰᵝ",
        "N:ɴ",
        "j:dʑ",
        "ch:tɕ",
        "sh:ɕ",
        "ts:tsɯ",
        "ty:tej",
        "dy:dej",
        "kw:kɯ",
        "gw:gɯ",
        "ky:kj",
        "gy:gj",
        "ny:nj",
        "hy:çj",
        "by:bj",
        "py:pj",
        "my:mj",
        "ry:ɾj",
    ]
)


def _pattern(morae: dict[str, list[str]]) -> re.Pattern[str]:
    return re.compile("|".join(sorted(morae, key=len, reverse=True)))


_PATTERNS: dict[Mode, re.Pattern[str]] = {"official": _pattern(_OFFICIAL), "fixed": _pattern(_FIXED)}


def spell(word: str, mode: Mode = "fixed") -> list[str]:
    """Consonants and vowels of a word in katakana: `ソー -> s o o`. ー at the start of a word stays ー (`lengthen`).

    Raises InputError for anything that is not a mora.
    """
    morae = _OFFICIAL if mode == "official" else _FIXED
    phonemes: list[str] = []
    at = 0
    while at < len(word):
        if word[at] == "ー":
            phonemes.append(phonemes[-1] if phonemes else "ー")
            at += 1
            continue
        match = _PATTERNS[mode].match(word, at)
        if match is None:
            raise InputError(f"Japanese: no reading for {word[at]!r} in {word!r}")
        phonemes += morae[match[0]]
        at = match.end()
    return phonemes


def lengthen(words: list[list[str]], mode: Mode = "fixed") -> list[list[str]]:
    """Words whose leading ー is the last sound of the word before.

    `official` repeats whatever stands there, even a comma, and at the very start the last sound of the whole text;
    `fixed` repeats vowels and ン only and is silent otherwise.
    """
    words = [list(word) for word in words]
    for at, word in enumerate(words):
        if word[:1] != ["ー"]:
            continue
        last = words[at - 1][-1:] if at or mode == "official" else []
        if mode == "fixed" and (not last or last[0] not in _VOWELS + "N"):
            last = []
        words[at] = [sound for phoneme in word for sound in (last if phoneme == "ー" else [phoneme])]
    return words


def ipa(phoneme: str) -> str:
    """The phone of one consonant or vowel; punctuation is its own phone."""
    return _IPA.get(phoneme, phoneme)
