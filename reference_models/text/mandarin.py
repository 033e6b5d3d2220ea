"""Mandarin text to phones (Amphion: models/tts/maskgct/g2p/g2p/mandarin.py).

    text -> numbers read (`mandarin_numbers`) -> punctuation reduced -> words (jieba, then `sandhi.join_words`)
         -> one syllable a character (lexicon, polyphone model) -> tone changes (`sandhi`) -> phones (`bopomofo`)

Resources are injected (`mandarin_resources`): `lexicon` and `polyphone`. `official` needs both. `fixed` without them
reads with pypinyin, word by word: its phrases know 银行 and 行走, while a polyphonic character that stands alone gets
its most frequent reading (的 de, 得 de, 长 chang).

| text                                | `official`, faults included                | `fixed` (default)         |
|-------------------------------------|--------------------------------------------|---------------------------|
| numbers, dates, signs               | see `mandarin_numbers`                     | read as people do         |
| tone changes                        | see `sandhi`                               | mended                    |
| a character that no resource knows  | passed on, a phone without an id           | pypinyin, else InputError |
| characters outside U+4E00..9FFF: 㐀 | dropped                                    | the same                  |
| other letters and digits: é, の, ½  | dropped                                    | InputError names them     |
| a lexicon syllable that the table   | in a word: the whole word read once more   | read                      |
| of the release lacks: nia3          | on its own: raises (InputError here)       | read                      |
| after a lost 不                     | the polyphone model is asked one too early | asked at the right place  |

What the weights were trained on is the same in both modes: no gaps between words, no third-tone change across words,
the neutral tone of zi and shi (`bopomofo`).
"""

from __future__ import annotations

import logging
import re
import unicodedata
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from reference_models.errors import InputError, MissingCheckpoint
from reference_models.text import bopomofo, sandhi
from reference_models.text.mandarin_numbers import read_numbers, transform
from reference_models.text.mandarin_resources import (
    LEXICON_FILE,
    MODEL_FOLDER,
    Lexicon,
    Polyphone,
    PolyphoneModel,
)
from reference_models.text.optional import optional
from reference_models.text.phones import GAP, MARKS
from reference_models.text.tokenizer import Mode

_PUNCTUATION = {
    **dict(zip("，。！？；：、‘’⋯", ",.!?;:,''…", strict=True)),
    **dict.fromkeys(["···", "・・・", "..."], "…"),
}
_HAN = "\u4e00-\u9fff"  # what the release reads
_HAN_MORE = "\u3400-\u4dbf\U00020000-\U0003ffff"  # extensions A to H


class Mandarin:
    """Reads Mandarin text, one run of Chinese characters with numbers and punctuation at a time.

    lexicon:   word -> syllables, a mapping (`load_lexicon`) or a function
    polyphone: (sentence, index) -> syllable of that character, or None if it is not polyphonic (`PolyphoneModel`)

    Raises MissingCheckpoint (mode official without its resources), MissingPackage (jieba, cn2an, pypinyin).
    """

    def __init__(
        self, lexicon: Lexicon | None = None, polyphone: Polyphone | None = None, mode: Mode = "fixed"
    ) -> None:
        if mode == "official" and (lexicon is None or polyphone is None):
            name, origin = ("lexicon", LEXICON_FILE) if lexicon is None else ("polyphone model", MODEL_FOLDER)
            raise MissingCheckpoint(
                f"official Mandarin needs the {name} of the release, which is not given",
                fix=f"take {origin} of github.com/open-mmlab/Amphion (`git lfs pull`), load it with load_lexicon or "
                "PolyphoneModel and hand it to Mandarin, or use mode 'fixed' (reads with pypinyin)",
            )
        self.lexicon = lexicon
        self.polyphone = polyphone
        self.mode = mode

    def to_phones(self, text: str) -> list[str]:
        """Phones of `text`, punctuation among them; only those of `phones.PHONES` in mode `fixed`.

        Raises InputError: a character that cannot be read, or a lexicon whose syllables do not fit the word.
        """
        phones: list[str] = []
        for syllable in self._spoken(self.normalize(text)):
            phones += _pass_mark(syllable) or bopomofo.to_phones(syllable)
        return phones

    def normalize(self, text: str) -> str:
        """Chinese characters and the punctuation `_,.?!;:'…` only, numbers in characters."""
        text = transform(text.strip()) if self.mode == "official" else read_numbers(_compatible(text.strip()))
        for sign, plain in _PUNCTUATION.items():
            text = text.replace(sign, plain)
        text = re.sub(r"\s+", "", text)
        kept = f"{_HAN}_{MARKS}" + ("" if self.mode == "official" else _HAN_MORE)
        unread = [char for char in re.sub(f"[{kept}]", "", text) if char.isalnum()]
        if unread and self.mode == "fixed":
            raise InputError(
                f"Mandarin text with characters that cannot be read as Mandarin: {' '.join(dict.fromkeys(unread))}",
                fix="write them in Chinese characters; words in Latin letters go through phonemize(text, 'zh')",
            )
        text = re.sub(f"[^{kept}]", "", text)
        return text if self.mode == "official" else re.sub(f"{GAP}+", GAP, text)

    def _spoken(self, text: str) -> list[str]:
        """Bopomofo syllables and punctuation of normalized text, tone changes made."""
        spoken: list[str] = []
        place = 0
        words = sandhi.join_words(_segmenter().lcut(text), self.mode)
        for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
            syllables = self._read(word, text, place)
            if re.search(f"[{_HAN}{_HAN_MORE}]", word) is None:
                spoken.append(word)
            else:
                try:
                    spoken += sandhi.change_tones(word, syllables, self.mode, before[-1:], after[:1])
                except IndexError as error:
                    raise InputError(
                        f"Mandarin: {word!r} has the syllables {syllables}, too few to speak it"
                    ) from error
            place += len(word)
        return spoken

    def _read(self, word: str, text: str, place: int) -> list[str]:
        """Bopomofo syllables of a word that stands at `text[place]`, before tone changes."""
        asked = self._ask(word, text, place) if len(word) == 1 else None
        whole = self._look_up(word) if asked is None else None
        if whole is not None:
            return whole
        if asked is not None:
            return [self._read_character(word, asked)]
        return [self._read_character(char, self._ask(char, text, place + at)) for at, char in enumerate(word)]

    def _read_character(self, char: str, pinyin: str | None) -> str:
        """One syllable: as the polyphone model has it (`pinyin`), or by the lexicon, or by pypinyin."""
        if pinyin is None:
            entry = self._entry(char)
            pinyin = None if entry is None else " ".join(entry)
        if pinyin is None and (self.mode == "official" or re.match(f"[{_HAN}{_HAN_MORE}]", char) is None):
            return char
        read = bopomofo.read_pinyin(pinyin, official=self.mode == "official") if pinyin else None
        if read is None and self.mode == "fixed":
            read = bopomofo.read_pinyin(_pypinyin(char)[0])
        if read is None:
            known = f", only {pinyin!r} in the lexicon" if pinyin else ""
            raise InputError(
                f"Mandarin: no reading for the character {char!r} (U+{ord(char):04X}{known})",
                fix="write another character of that sound",
            )
        return read

    def _look_up(self, word: str) -> list[str] | None:
        """Syllables of a word in the lexicon (pypinyin, if there is none), or None."""
        entry = self._entry(word)
        if entry is None and self.lexicon is None and re.fullmatch(f"[{_HAN}{_HAN_MORE}]+", word):
            entry = _pypinyin(word)
        if entry is None:
            return None
        syllables = [bopomofo.read_pinyin(pinyin, official=self.mode == "official") for pinyin in entry]
        if self.mode == "official":
            return [s for syllable in syllables for s in ([syllable] if syllable else _pypinyin_bopomofo(word))]
        if None in syllables or len(syllables) != len(word):
            return None  # character by character
        return [syllable for syllable in syllables if syllable]

    def _entry(self, word: str) -> Sequence[str] | None:
        if self.lexicon is None:
            return None
        entry = self.lexicon(word) if callable(self.lexicon) else self.lexicon.get(word)
        return entry.split(" ") if isinstance(entry, str) else entry

    def _ask(self, char: str, text: str, place: int) -> str | None:
        """The polyphone model's reading of `char`, or None if it is not polyphonic."""
        if isinstance(self.polyphone, PolyphoneModel) and self.mode == "official":
            # the release asks by place, and the place is wrong after a lost 不
            return self.polyphone.predict(text, place) if char in self.polyphone.characters else None
        return self.polyphone(text, place) if self.polyphone else None


def _pass_mark(syllable: str) -> list[str]:
    """A piece of punctuation as phones: each mark, and what stands between them; [] if it is a syllable."""
    if not re.search(f"[{MARKS}]", syllable):
        return [syllable] if syllable.strip(GAP) == "" else []
    return [part for part in re.split(f"([{MARKS}])", syllable) if part]


def _compatible(text: str) -> str:
    """Compatibility ideographs (U+F900 and after) as the characters that they stand for."""
    return re.sub("[\uf900-\ufaff]", lambda m: unicodedata.normalize("NFKC", m[0]), text)


@lru_cache(maxsize=1)
def _segmenter() -> Any:
    """jieba with its own dictionary, whatever words the caller's process added to jieba's shared one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jieba imports pkg_resources
        jieba = optional("jieba", "Mandarin text")
    jieba.setLogLevel(logging.WARNING)
    return jieba.Tokenizer()


def _pypinyin(word: str) -> list[str]:
    """One syllable a character with its tone digit; "?" for a character that pypinyin does not know."""
    pypinyin = optional("pypinyin", "Mandarin text without a lexicon")
    return list(
        pypinyin.lazy_pinyin(
            word,
            style=pypinyin.Style.TONE3,
            neutral_tone_with_five=True,
            errors=lambda characters: ["?"] * len(characters),
        )
    )


def _pypinyin_bopomofo(word: str) -> list[str]:
    """What the release falls back to: pypinyin's own bopomofo of the whole word."""
    pypinyin = optional("pypinyin", "official Mandarin")
    return list(pypinyin.lazy_pinyin(word, style=pypinyin.Style.BOPOMOFO))
