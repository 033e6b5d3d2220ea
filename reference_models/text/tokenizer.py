"""Plain words and punctuation to phones through eSpeak: what English, French, German and Korean share.

The release (Amphion: models/tts/maskgct/g2p/g2p/text_tokenizers.py) wraps the package `phonemizer`; the rules below are
written from what that wrapper answers. A text is cut at punctuation, each piece is said on its own, and the punctuation
returns as phones in between, without word gaps around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, TypeAlias

from reference_models.text.espeak import Espeak
from reference_models.text.phones import GAP, MARKS

Mode: TypeAlias = Literal["fixed", "official"]

_ASCII_MARKS = str.maketrans("，。！？；：、‘’⋯", ",.!?;:,''…")
_ELLIPSIS = re.compile(r"···|・・・|\.\.\.")
_BREAK = "\n"
_MARKS: dict[Mode, str] = {"official": MARKS, "fixed": MARKS.replace("'", "")}


def speak(text: str, voice: str, espeak: Espeak, mode: Mode = "fixed") -> list[str]:
    """Phones of `text`, said by eSpeak's `voice`, with gaps between words and with punctuation.

    mode: in 'official', an apostrophe is punctuation, as everywhere in the release; in 'fixed', it is a letter.
    Raises InputError (eSpeak fails on this text), MissingPackage.
    """
    marks = _MARKS[mode]
    pieces = list(_pieces(text, marks, mode))
    to_say = [piece for piece in pieces if piece[0] not in marks and piece != _BREAK]
    said = iter(espeak.words(to_say, voice))
    phones: list[str] = []
    for piece in pieces:
        if piece[0] in marks or piece == _BREAK:
            phones.extend(piece)
            continue
        for number, word in enumerate(next(said)):
            # 1.51 writes German `UR` with question marks, which the release takes for punctuation
            symbols = [part for symbol in word for part in re.findall(f"^$|[{marks}]|[^{marks}]+", symbol)]
            phones.extend([GAP, *symbols] if number else symbols)
    return _glue(phones, marks)


def _glue(phones: list[str], marks: str) -> list[str]:
    """A break joins the phones beside it to one that is in no table; "" (silence) keeps them apart."""
    glued: list[str] = []
    for phone in phones:
        beside = bool(glued) and bool(glued[-1]) and glued[-1] not in marks
        if (phone == _BREAK and beside) or (beside and glued[-1].endswith(_BREAK) and phone and phone not in marks):
            glued[-1] += phone
        else:
            glued.append(phone)
    return [phone for phone in glued if phone]


def _tidy(text: str, marks: str) -> str:
    """Letters, digits, single spaces, apostrophes and `marks` (as ASCII, nothing around them): all else goes."""
    text = _ELLIPSIS.sub("…", text.strip().translate(_ASCII_MARKS))
    text = re.sub(rf"[^\w\s{MARKS}]", "", text)
    text = re.sub(rf"\s*([{marks}])\s*", r"\1", text)
    return re.sub(r"\s+", " ", text).strip()


def _pieces(text: str, marks: str, mode: Mode) -> Iterator[str]:
    """The text in order, cut into runs of marks, what is between them, and in the official mode breaks."""
    if mode == "fixed":
        yield from _cut(_tidy(text, marks), marks, mode)
        return
    lines = [tidy for line in text.split("\n") if (tidy := _tidy(line, marks))]
    for number, line in enumerate(lines):
        yield from [_BREAK] if number else []
        yield from _cut(line, marks, mode)


def _cut(line: str, marks: str, mode: Mode) -> Iterator[str]:
    """A '.' or ',' between digits does not cut.

    The release cuts where a mark's characters first occur, so that in "2.5 kg." it takes the dot of the number for the
    one at the end, and breaks the line after it; the fixed mode cuts where the mark is.
    """
    start = 0
    for mark in re.finditer(f"[{marks}]+", line):
        if re.fullmatch("[0-9][.,][0-9]", line[max(mark.start() - 1, 0) : mark.end() + 1]):
            continue
        at = line.index(mark.group(), start) if mode == "official" else mark.start()
        yield from filter(None, (line[start:at], mark.group()))
        start = at + len(mark.group())
        if mark.end() == len(line) and start < len(line):
            yield _BREAK
    if start < len(line):
        yield line[start:]
