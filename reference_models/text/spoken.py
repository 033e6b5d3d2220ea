"""What the release's front end drops or garbles, put into words first: only for the fixed mode.

| written                       | the release hears              | said here                                   |
|-------------------------------|--------------------------------|---------------------------------------------|
| It's, can't, l'été, l’été     | it ' s, can ' t, l ' été, lété | one word; other single quotes are dropped   |
| -12.5, −12.5, -$5             | 12.5, 12.5, $5                 | minus 12.5, minus 12.5, minus $5            |
| 75 %, de/fr/ko 75%            | 75                             | 75 percent (Prozent, pour cent, 퍼센트)      |
| Q&A, +, =, 20°                | qa, -, -, 20                   | q and a, plus, equals, 20 degrees           |
| ann@a.com                     | anna . com                     | ann at a dot com                            |
| €20, 20 £, de/fr/ko $20       | 20 (fr, de: a full stop, 20)   | 20 euros, 20 pounds, 20 dollars             |
| yes — no, yes -- no, yes - no | yes no                         | yes, no                                     |
| de/fr/ko 10–20, ko 10-20      | 1020                           | 10 20                                       |
| and/or                        | andor                          | and or                                      |
| 10^6, (1)(2), 6'2, 3·1        | 106, 12, 6 ' 2, 31             | 10 6, 1 2, 6 2, 3 1                         |
| ko 3.14                       | 3 14 (no word for the dot)     | 3 점 1 4                                     |
| e + combining accent, Ａ      | e, as eSpeak names it          | é, A                                        |
"""

from __future__ import annotations

import re
import unicodedata

_SYMBOLS = "−%&@+=°.€£$¥"  # '.' is the one inside an address
_WORDS = {
    "en": "minus|percent|and|at|plus|equals|degrees|dot|euros|pounds|dollars|yen",
    "fr": "moins|pour cent|et|arobase|plus|égale|degrés|point|euros|livres|dollars|yens",
    "de": "minus|Prozent|und|at|plus|gleich|Grad|Punkt|Euro|Pfund|Dollar|Yen",
    "ko": "마이너스|퍼센트|앤드|골뱅이|플러스|이퀄|도|점|유로|파운드|달러|엔",
}
_TABLES = {language: dict(zip(_SYMBOLS, words.split("|"), strict=True)) for language, words in _WORDS.items()}
_OWN_CURRENCIES = {"en": "£$"}  # where the release reads them itself, with their cents

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # ！ to ～, letters and digits among them
_LETTER = r"[^\W\d_]"
_QUOTE = re.compile(rf"((?<={_LETTER})['’ʼ](?={_LETTER}))|['‘’‚‛ʼ]")
_MINUS = re.compile(r"(?<![\w.,])[-−]\s?(?=[€£$¥]?\d)|\s−\s")
_FEET = re.compile(r"(?<=\d)['’′](?=\d{1,2}(?!\d))")  # 6'2, but not the thousands of 1'000
_DECIMAL = re.compile(r"(?<![\d.])(\d[\d,]*)\.(\d+)(?!\.?\d)")  # 3.14, but not 2024.1.2
_BETWEEN_NUMBERS = re.compile(r"(?<=\d)[^\w\s.,:;!?…'/$£。、⋯]+(?=\d)")  # what `tokenizer` drops without a trace
_DASH = re.compile(r"\s*(?:--+|[—―]+|(?<=\s)[-–](?=\s))\s*")
_ADDRESS = re.compile(r"\S+@\S+\w")
_AMOUNT = re.compile(r"([€£$¥])\s?(\d+(?:[.,]\d+)*)")


def spoken(text: str, language: str) -> str:
    """`text` ('en', 'fr', 'de' or 'ko') with the symbols of the table above as words or commas."""
    table = _TABLES[language]
    text = unicodedata.normalize("NFC", text).translate(_FULL_WIDTH)
    text = _QUOTE.sub(lambda m: "'" if m[1] else "", _FEET.sub(" ", text))
    text = _ADDRESS.sub(lambda m: m[0].replace("@", f" {table['@']} ").replace(".", f" {table['.']} "), text)
    text = _AMOUNT.sub(lambda m: _money(m[1], m[2], language), _MINUS.sub(f" {table['−']} ", text))
    text = _DASH.sub(_pause, text)
    text = re.sub(r"–|(?<=\d)-(?=\d)|(?<!\d)/|/(?!\d)", " ", text)
    if language != "en":
        text = text.replace("/", " ")  # English reads fractions
    if language == "ko":  # its eSpeak voice has no word for the dot
        text = _DECIMAL.sub(lambda m: f"{m[1]} {table['.']} {' '.join(m[2])}", text)
    own = _OWN_CURRENCIES.get(language, "")
    text = re.sub(r"[%&@+=°€£$¥]", lambda m: _symbol(m, table, own), text)
    return _BETWEEN_NUMBERS.sub(" ", text)


def _money(sign: str, amount: str, language: str) -> str:
    if sign in _OWN_CURRENCIES.get(language, ""):
        return sign + amount
    name = _TABLES[language][sign]
    return f"{amount} {name.removesuffix('s') if amount == '1' else name} "


def _symbol(found: re.Match[str], table: dict[str, str], own: str) -> str:
    before_a_digit = found.string[found.end() : found.end() + 1].isdigit()
    return found[0] if found[0] in own and before_a_digit else f" {table[found[0]]} "


def _pause(dash: re.Match[str]) -> str:
    """A comma, except at the ends of the text and beside other punctuation."""
    before, after = dash.string[: dash.start()].rstrip(), dash.string[dash.end() :]
    beside = not before or not after or before[-1] in ",.;:!?…(" or after[0] in ",.;:!?…)"
    return " " if beside else ", "
