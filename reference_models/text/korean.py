"""Korean text to phones (Amphion: models/tts/maskgct/g2p/g2p/korean.py). eSpeak reads the numbers."""

from __future__ import annotations

import re

from reference_models.text.espeak import Espeak
from reference_models.text.spoken import spoken
from reference_models.text.tokenizer import Mode, speak

# Chinese characters and radicals; the Korean reading would stand beside them
_HANJA = re.compile(
    "[\u2e80-\u2e99\u2e9b-\u2ef3\u2f00-\u2fd5\u3005\u3007\u3021-\u3029\u3038-\u303b\u3400-\u4db5\u4e00-\u9fc3]"
)
_SPELLED = """
A에이 B비 C씨 D디 E이 F에프 G지 H에이치 I아이 J제이 K케이 L엘 M엠
N엔 O오 P피 Q큐 R알 S에스 T티 U유 V브이 W더블유 X엑스 Y와이 Z제트
"""
_LETTERS = {entry[0]: entry[1:] for entry in _SPELLED.split()}
_WORDS = {
    "KOREA": "코리아",
    "IDOL": "아이돌",
    "IT": "아이티",
    "IQ": "아이큐",
    "UP": "업",
    "DOWN": "다운",
    "PC": "피씨",
    "CCTV": "씨씨티비",
    "SNS": "에스엔에스",
    "AI": "에이아이",
    "CEO": "씨이오",
}
_IN_HANGUL = _WORDS | _LETTERS


def to_phones(text: str, espeak: Espeak, mode: Mode = "fixed") -> list[str]:
    """Phones of Korean `text`. Raises InputError, MissingPackage."""
    return speak(normalize(spoken(text, "ko") if mode == "fixed" else text), "ko", espeak, mode)


def normalize(text: str) -> str:
    """Without Chinese characters, with a few Latin words in Hangul, in lower case."""
    text = _HANJA.sub("", text.strip())
    return re.sub("[A-Za-z]+", lambda m: _IN_HANGUL.get(m[0], m[0]), text).lower()
