"""Numbers and signs in Mandarin text, as they are read aloud.

`official` hands the text to `cn2an.transform`, as the release does; digits and signs that it leaves are later dropped
without a word.

| text                     | `official` says                | `fixed` says                                     |
|--------------------------|--------------------------------|--------------------------------------------------|
| 1,234                    | 一,二百三十四                    | 一千二百三十四                                     |
| 10-20                    | 十负二十                        | 十到二十                                          |
| -5℃, 25.5℃               | 五摄氏度, 二十五.五摄氏度        | 零下五摄氏度, 二十五点五摄氏度                       |
| 2024-01-05               | 二千零二十四负一负五               | 二零二四年一月五日                                  |
| 12:05                    | 十二:五                         | 十二点零五分                                       |
| 3:1                      | 三:一                           | 三比一                                            |
| 13800138000, 400-800-1234| 一百三十八亿..., 四百负八百负...     | digit by digit                                   |
| 007, 1.2.3               | 七, 一点二.三                    | 零零七, 一点二点三                                  |
| more than 16 digits      | nothing                        | digit by digit                                   |
| 10年, 100年               | 一零年, 一零零年                  | 十年, 一百年 (years of a calendar stay digits)     |
| ¥100, $3.5亿              | 一百, 三点五亿                    | 一百元, 三点五亿美元                                |
| 5‰                       | 五                              | 千分之五                                          |
| 3+5=8                    | 三五八                           | 三加五等于八                                       |
| 2个                       | 二个                            | 两个                                             |
| 〇, ５．５, ①              | nothing, 五五, nothing           | 零, 五点五, 一                                     |
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from types import ModuleType

from reference_models.text.optional import optional

Replace = str | Callable[["re.Match[str]"], str]

_MAX_DIGITS = 16  # what cn2an reads as one number
_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
_UNITS = "[十百千万亿]*"  # 3.5亿
_CURRENCIES = {"¥": "元", "￥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_OPERATORS = {"+": "加", "×": "乘", "*": "乘", "÷": "除以", "=": "等于"}
_MEASURES = r"[个只条张块瓶杯份本辆台匹头位件双次种天周倍点米]|年(?!\d)|小时|分钟|公里|公斤"  # after which 2 is 两
_DASH = "[-\u2010-\u2015\u2212~\uff5e\u301c]"
_MINUS = "(?<![0-9A-Za-z])[-\u2212]"


def _cn2an() -> ModuleType:
    return optional("cn2an", "Mandarin text")


def transform(text: str) -> str:
    """Numbers as the release reads them (`cn2an.transform`)."""
    return str(_cn2an().transform(text, "an2cn"))


def digits(text: str) -> str:
    """Digits one by one; other characters are left out."""
    return "".join("零一二三四五六七八九"[int(char)] for char in text if char.isdigit())


def cardinal(text: str) -> str:
    """One number without a sign: `1,234.5`. Leading zeros, or more digits than a number has, are read one by one."""
    whole, point, fraction = text.replace(",", "").partition(".")
    if len(whole) > _MAX_DIGITS or (len(whole) > 1 and whole.startswith("0")):
        return digits(whole) + (point and "点") + digits(fraction)
    return str(_cn2an().an2cn(whole, "low")) + (point and "点") + digits(fraction)


def _date(match: re.Match[str]) -> str:
    year, _, month, day = match.groups()
    return f"{digits(year)}年{cardinal(str(int(month)))}月{cardinal(str(int(day)))}日"


def _time(match: re.Match[str]) -> str:
    def two(figures: str, unit: str) -> str:
        zero = "零" if figures.startswith("0") and figures != "00" else ""
        return zero + cardinal(str(int(figures))) + unit

    hour, minute, second = match.groups()
    said = ("两" if int(hour) == 2 else cardinal(str(int(hour)))) + "点"
    if minute != "00" or second:
        said += two(minute, "分")
    return said + (two(second, "秒") if second else "")


def _temperature(match: re.Match[str]) -> str:
    below, number, unit = match.groups()
    degrees = "度" if unit == "°" else "摄氏度"
    return ("零下" if below else "") + cardinal(number) + degrees


def _share(match: re.Match[str]) -> str:
    minus, number, sign = match.groups()
    return ("负" if minus else "") + ("百分之" if sign == "%" else "千分之") + cardinal(number)


def _signed(match: re.Match[str]) -> str:
    sign, number = match.groups()
    return {"": "", "+": "正"}.get(sign, "负") + cardinal(number)


# In this order: what is written with several numbers first, single numbers last.
_RULES: tuple[tuple[str, Replace], ...] = (
    (r"(?<!\d)([12]\d{3})([-/.])(0?[1-9]|1[0-2])\2(0?[1-9]|[12]\d|3[01])(?!\d)", _date),
    (rf"(?<!\d)([12]\d{{3}}){_DASH}(?=[12]\d{{3}}年)", lambda m: digits(m[1]) + "到"),
    (r"(?<!\d)(?:[12]\d{3}|0\d|\d\d(?=年\d{1,2}月)|[5-9][1-9])(?=年)", lambda m: digits(m[0])),
    (r"(?<![\d:])([01]?\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?(?![\d:])", _time),
    (rf"({_NUMBER}):(?={_NUMBER})", r"\1比"),
    (r"(?<![\d.])(?:0\d{2,3}-\d{7,8}|[48]00-\d{3}-\d{4}|1[3-9]\d{9}|\d+(?:-\d+){2,})(?![\d.])", lambda m: digits(m[0])),
    (r"\d+(?:\.\d+){2,}", lambda m: "点".join(cardinal(part) for part in m[0].split("."))),
    (rf"([¥￥$€£])\s*({_NUMBER})({_UNITS})", lambda m: m[2] + m[3] + _CURRENCIES[m[1]]),
    (r"(?<![\d/])(\d+)/(\d+)(?![\d/])", lambda m: f"{cardinal(m[2])}分之{cardinal(m[1])}"),
    (rf"(?<=[\d%‰℃°C元点分年月日号])\s*{_DASH}\s*(?=[\d零一二三四五六七八九十两])", "到"),
    (rf"({_MINUS})?({_NUMBER})([%‰])", _share),
    (rf"({_MINUS})?({_NUMBER})\s*(℃|°C|°)", _temperature),
    (r"(?<=\d)\s*([+×*÷=])\s*(?=\d)", lambda m: _OPERATORS[m[1]]),
    (rf"(?<![\d.第,])2(?={_MEASURES})", "两"),
    (rf"({_MINUS}|(?<![0-9A-Za-z])\+|)({_NUMBER})", _signed),
)


def read_numbers(text: str) -> str:
    """`text` with all numbers in characters, by the column `fixed` above. Raises MissingPackage (cn2an)."""
    text = "".join(_plain(char) for char in text)
    for pattern, replace in _RULES:
        text = re.sub(pattern, replace, text)
    return text


def _plain(char: str) -> str:
    """Full-width (save the comma, which never stands inside a number) and circled characters as ASCII, 〇 as 零."""
    if char == "〇":
        return "零"
    if char.isdecimal():
        return str(unicodedata.decimal(char))
    if char != "，" and ("\uff01" <= char <= "\uff5d" or "①" <= char <= "⑳"):
        return unicodedata.normalize("NFKC", char)
    return char
