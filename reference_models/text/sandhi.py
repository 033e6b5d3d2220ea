"""Mandarin tone changes, and the joining of segmented words that they need.

Rules of the release (Amphion: models/tts/maskgct/g2p/g2p/mandarin.py): 不 and 一 before a fourth tone, 一 in numbers
and between equal words, 儿 at the end of a word, two or three third tones in one word. They work on the words of a
segmenter, with one bopomofo syllable a character (see `bopomofo`).

| text         | `official`, faults included                          | `fixed`                           |
|--------------|------------------------------------------------------|-----------------------------------|
| 你去不, 不不 | a 不 that ends the text or precedes 不 is silent     | it is spoken                      |
| 看一看听一听 | only the first of a text becomes one word            | each does                         |
| 总统府       | three third tones get a second mark, heard by nobody | the first two become second tones |
| 二零二一年   | the segmenter leaves 一年: 一 takes the fourth tone  | 一 after a digit keeps its tone   |
| 一点五       | 一 as in "a little", fourth tone                     | 一 keeps its tone                 |
"""

from __future__ import annotations

from reference_models.text.tokenizer import Mode

_ENDS_IN_ER_SPOKEN = frozenset(["女儿", "老儿", "男儿", "少儿", "小儿"])  # 儿 keeps its tone in these
_DIGITS = "零一二三四五六七八九"
_PAUSES = "：，；。？！“”‘’':,;.?!()（）{}【】[]-~`、 "
_MARKS = "˙ˊˇˋ"


def join_words(words: list[str], mode: Mode = "fixed") -> list[str]:
    """Words with 一, 不 and 儿 joined to their neighbours: `["看", "一", "看"] -> ["看一看"]`."""
    return _join_er(_join_bu(_join_yi(words, mode), mode))


def _join_yi(words: list[str], mode: Mode) -> list[str]:
    def doubled(at: int) -> bool:
        """Is `at` the 一 of 看一看?"""
        if not (0 < at < len(words) - 1 and words[at] == "一" and words[at - 1] == words[at + 1]):
            return False
        return mode == "official" or words[at - 1] != "一"

    joined: list[str] = []
    for at, word in enumerate(words):
        if doubled(at) and (mode == "fixed" or len(joined) == at):  # the release finds the place by counting words
            joined[-1] += "一" + (words[at + 1] if mode == "fixed" else joined[-1])
        elif doubled(at):
            joined += ["一", words[at + 1]]
        elif not doubled(at - 1):
            joined.append(word)
    return _join_next(joined)


def _join_next(words: list[str]) -> list[str]:
    """一 joined to the word after it."""
    out: list[str] = []
    for word in words:
        if out and out[-1] == "一":
            out[-1] += word
        else:
            out.append(word)
    return out


def _join_bu(words: list[str], mode: Mode) -> list[str]:
    """不 joined to the word after it."""
    out: list[str] = []
    last = ""
    for word in words:
        if word == "不":
            if last == "不" and mode == "fixed":
                out.append(last)
        else:
            out.append(last + word if last == "不" else word)
        last = word
    if last == "不" and mode == "fixed":
        out.append(last)
    return out


def _join_er(words: list[str]) -> list[str]:
    """儿 joined to the word before it."""
    out: list[str] = []
    for word in words:
        if word == "儿" and out:
            out[-1] += word
        else:
            out.append(word)
    return out


def change_tones(word: str, syllables: list[str], mode: Mode = "fixed", before: str = "", after: str = "") -> list[str]:
    """The syllables of `word` as they are spoken together. `before`, `after`: the characters around the word.

    Raises IndexError when a rule needs a syllable that is not there (fewer syllables than characters).
    """
    out = list(syllables)
    _third(word, out, mode)
    _bu(word, out)
    plain = 0  # so many leading 一 are digits
    if mode == "fixed" and ((before and before in _DIGITS) or (word == "一点" and after and after in _DIGITS)):
        plain = len(word) - len(word.lstrip("一"))
    out = [_with_tone(syllable, "") for syllable in out[:plain]] + _yi(word[plain:], out[plain:])
    if len(word) > 1 and word.endswith("儿") and word not in _ENDS_IN_ER_SPOKEN:
        out[-1] = _with_tone(out[-1], "˙")
    return out


def _with_tone(syllable: str, mark: str) -> str:
    return (syllable[:-1] if syllable[-1] in _MARKS else syllable) + mark


def _third(word: str, syllables: list[str], mode: Mode) -> None:
    if len(word) == 2 and syllables[0].endswith("ˇ") and syllables[-1].endswith("ˇ"):
        syllables[0] = _with_tone(syllables[0], "ˊ")
    if len(word) == 3 and all(syllables[at].endswith("ˇ") for at in (0, 1, -1)):
        for at in (0, 1):
            syllables[at] = _with_tone(syllables[at], "ˊ") if mode == "fixed" else syllables[at] + "ˊ"


def _bu(word: str, syllables: list[str]) -> None:
    if set(word) == {"不"} or word == "不字":
        return
    if len(word) == 3 and word[1] == "不" and syllables[1][:-1] == "ㄅㄨ":  # 好不好
        syllables[1] = "ㄅㄨ˙"
        return
    for at, (char, following) in enumerate(zip(word, syllables[1:], strict=False)):
        if char == "不" and at + 1 < len(word) and following.endswith("ˋ"):
            syllables[at] = syllables[at][:-1] + "ˊ"


def _yi(word: str, syllables: list[str]) -> list[str]:
    out = list(syllables)
    ones = [at for at, char in enumerate(word) if char == "一"]
    if ones and any(char.isnumeric() for char in word if char != "一"):
        for at in ones:
            leads = at == 0 and word[1] not in _DIGITS + "十"  # 一百, but 一二三
            out[at] = _with_tone(out[at], ("ˊ" if out[1][-1] in "ˋ˙" else "ˋ") if leads else "")
    elif len(word) == 3 and word[1] == "一" and word[0] == word[2]:  # 看一看
        out[1] = _with_tone(out[1], "˙")
    elif word.startswith("第一"):
        out[1] = _with_tone(out[1], "")
    elif word.startswith(("一月", "一日", "一号")):
        out[0] = _with_tone(out[0], "")
    else:
        for at in ones:
            if at + 1 < len(word) and at + 1 < len(out) and out[at + 1].endswith("ˋ"):
                out[at] = _with_tone(out[at], "ˊ")
            elif at + 1 < len(word) and word[at + 1] not in _PAUSES:
                out[at] = _with_tone(out[at], "ˋ")
    return out
