"""Japanese text to phones (Amphion: models/tts/maskgct/g2p/g2p/japanese.py).

    text -> OpenJTalk: words, pronounced in katakana -> consonants and vowels (`japanese_kana`) -> phones

There are no gaps between words, and the pitch accent, which the release computes, does not reach its phones.

The release uses pyopenjtalk and, for what that cannot read, pykakasi (GPL). Here pyopenjtalk-plus (MIT) does both: it
brings its dictionary in the wheel and reads kanji that pyopenjtalk cannot, so that pykakasi is not missed.
**Not compared with the release's own readings**: no recording of the release exists for Japanese, and
pyopenjtalk-plus has a newer dictionary, so words may be read otherwise. All after the dictionary follows the release.

| text                   | `official`, faults included                  | `fixed` (default)              |
|------------------------|----------------------------------------------|--------------------------------|
| フュ, クォ, グァ       | two morae; before the last phrase: raises    | one mora                       |
| あ、ー and ーあ        | ー repeats the pause; the text's last sound  | ー is silent                   |
| -5度, $100, ¥100       | 5度, 100, 円100                              | マイナス5度, 100ドル, 100円    |
| 12:30, 1/2, 10-20      | bare numbers                                 | 12時30分, 2分の1, 10から20     |
| 2024/1/5               | bare numbers                                 | 2024年1月5日                   |
| 03-1234-5678, 50%, 5℃  | full-width digits and signs are silent       | read as OpenJTalk reads them   |
| é, Привет, 안녕        | dropped                                      | InputError names them          |
| (^^)                   | raises (InputError here)                     | silent                         |
| 々 as a word of its own | loses its reading                           | read as OpenJTalk reads it     |
"""

from __future__ import annotations

import re
from importlib import metadata
from types import ModuleType
from typing import Any

from reference_models.errors import InputError, MissingPackage
from reference_models.text.japanese_kana import ipa, lengthen, spell
from reference_models.text.mandarin_numbers import Replace
from reference_models.text.optional import optional
from reference_models.text.phones import MARKS
from reference_models.text.tokenizer import Mode

_PUNCTUATION = {
    **dict(zip("：；，。！？\n．⋯·・•、$‘’", ":;,.!?..…,,,,.''", strict=True)),
    **dict.fromkeys(["···", "・・・"], "…"),
}
_LONG_FIRST = re.compile("|".join(re.escape(sign) for sign in sorted(_PUNCTUATION, key=len, reverse=True)))
# kana, kanji, 々, Latin (half and full width) and Greek letters, punctuation
_READABLE = (
    "\u3040-\u30ff\u4e00-\u9fff\u3400-\u4dbf\u3005A-Za-z\uff21-\uff3a\uff41-\uff5a\u0370-\u03ff\u1f00-\u1fff" + MARKS
)
_REPEATS = frozenset("々ゝヽゞヾ゛")
_PAUSE = "、"  # the pronunciation that OpenJTalk gives to punctuation, and to what it cannot read

_CURRENCIES = {"$": "ドル", "＄": "ドル", "€": "ユーロ", "£": "ポンド", "¥": "円", "￥": "円"}
_RULES: tuple[tuple[str, Replace], ...] = (
    (r"(?<!\d)(\d{4})([-/])(0?[1-9]|1[0-2])\2(0?[1-9]|[12]\d|3[01])(?!\d)", lambda m: _date(m[1], m[3], m[4])),
    (
        r"(?<![\d:])(\d{1,2})[:：]([0-5]\d)(?![\d:：])",
        lambda m: f"{int(m[1])}時" + (f"{int(m[2])}分" if int(m[2]) else ""),
    ),
    (r"([$＄€£¥￥])\s*(\d[\d,]*(?:\.\d+)?[十百千万億兆]*)", lambda m: m[2] + _CURRENCIES[m[1]]),
    (r"(?<![\d/])(\d+)[/／](\d+)(?![\d/])", r"\2分の\1"),
    (r"(?<![\d-])(\d+)\s*[-~\u2013\u2212\uff5e\u301c]\s*(\d+)(?![\d-])", r"\1から\2"),
    (r"(?<![0-9A-Za-z-])[-\u2212\uff0d](?=\d)", "マイナス"),
)


def _date(year: str, month: str, day: str) -> str:
    return f"{year}年{int(month)}月{int(day)}日"


class Japanese:
    """Reads Japanese text. Raises MissingPackage (pyopenjtalk-plus)."""

    def __init__(self, mode: Mode = "fixed") -> None:
        self.mode = mode
        self._openjtalk = _openjtalk()

    def to_phones(self, text: str) -> list[str]:
        """Phones of `text`, punctuation among them. Raises InputError: something in it cannot be read."""
        spoken = self._kana(self._openjtalk.run_frontend(self.normalize(text)))
        words = lengthen([[kana] if kana in MARKS else spell(kana, self.mode) for kana, _ in spoken], self.mode)
        if self.mode == "official":
            self._check(words, [token for _, token in spoken])
        return [ipa(phoneme) for word in words for phoneme in word if phoneme != "ー"]

    def normalize(self, text: str) -> str:
        """`text` without spaces and outer apostrophes; in `fixed` with signs between numbers in words."""
        text = re.sub(r"\s+", "", text.strip().strip("'"))
        if self.mode == "fixed":
            for pattern, replace in _RULES:
                text = re.sub(pattern, replace, text)
        return text

    def _kana(self, tokens: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
        """The words in katakana, or single marks of punctuation, each with its token; what is silent is left out."""
        kana: list[tuple[str, dict[str, Any]]] = []
        swallowed = False
        for at, token in enumerate(tokens):
            if swallowed:
                swallowed = False
                continue
            string = str(token["string"])
            swallowed = self.mode == "official" and at + 1 < len(tokens) and tokens[at + 1]["string"] in _REPEATS
            if swallowed:
                string += str(tokens[at + 1]["string"])
            said = self._pronunciation(string, str(token["pron"]).replace("’", ""))
            if said:
                kana.append((said, token))
        return kana

    def _pronunciation(self, string: str, pronunciation: str) -> str:
        """Katakana of one word, a mark of punctuation, or "" for what is not spoken."""
        word = re.sub(f"[^{_READABLE}]+", "", _LONG_FIRST.sub(lambda m: _PUNCTUATION[m[0]], string))
        silent = pronunciation in ("", _PAUSE, "？", "！")
        if self.mode == "official" and not pronunciation:
            raise InputError(f"official Japanese: no pronunciation for {string!r}", fix="use mode 'fixed'")
        if self.mode == "official" and not word:
            return ""
        if not silent:
            return pronunciation
        if word and (word in MARKS or re.fullmatch("[\u30a1-\u30ff]+", word)):
            return word
        if any(char.isalnum() for char in word or string):
            raise InputError(f"Japanese text with characters that cannot be read: {string}")
        return ""

    def _check(self, words: list[list[str]], tokens: list[dict[str, Any]]) -> None:
        """The release raises when kana and the labels of OpenJTalk disagree (`align_tones`)."""
        sounds = _labelled_sounds(self._openjtalk.make_label(tokens))
        at = 0
        for phoneme in (phoneme for word in words for phoneme in word):
            if at < len(sounds) and phoneme == sounds[at]:
                at += 1
            elif at < len(sounds) and phoneme not in MARKS:
                raise InputError(
                    f"official Japanese: {phoneme!r} of the kana is {sounds[at]!r} in the labels",
                    fix="use mode 'fixed'",
                )


def _labelled_sounds(labels: list[str]) -> list[str]:
    """Sounds of full-context labels, without those of the last accent phrase: the release loses them."""

    def number(pattern: str, label: str) -> int | None:
        match = re.search(pattern, label)
        return int(match[1]) if match else None

    sounds: list[str] = []
    complete = 0  # so many sounds are in phrases that have ended
    for label, following in zip(labels, [*labels[1:], ""], strict=False):
        sound = label.split("-", 1)[1].split("+", 1)[0]
        if sound not in ("sil", "pau"):
            sounds.append({"cl": "q"}.get(sound, sound.lower() if sound in "AEIOU" else sound))
        last_mora = number(r"\+(\d+)/", label) == 1 and number(r"\+(\d+)\+", following) == 1
        if sound == "pau" or (last_mora and sounds and sounds[-1] in "aeiouNq"):
            complete = len(sounds)
    return sounds[:complete]


def _openjtalk() -> ModuleType:
    """pyopenjtalk-plus; its forerunner pyopenjtalk has the same module name and would download a dictionary."""
    try:
        metadata.version("pyopenjtalk-plus")
    except metadata.PackageNotFoundError as error:
        raise MissingPackage("Japanese text", "pyopenjtalk-plus", "ja") from error
    return optional("pyopenjtalk", "Japanese text", "ja")
