"""The table in the docstring of `spoken`, row by row, and what must stay as it is."""

from __future__ import annotations

import pytest

from reference_models.text.english import _ABBREVIATION, _expand
from reference_models.text.spoken import _TABLES, spoken


def said(text: str, language: str = "en") -> str:
    return " ".join(spoken(text, language).split())


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "It's 5 o'clock, she can’t.", "It's 5 o'clock, she can't."),
        ("en", "'Quoted', dogs' tails, rock 'n' roll", "Quoted, dogs tails, rock n roll"),
        ("fr", "l’été, aujourd'hui", "l'été, aujourd'hui"),
        ("en", "-12.5, −12.5 and (-3)", "minus 12.5, minus 12.5 and ( minus 3)"),
        ("en", "-$5, 5 − 3", "minus $5, 5 minus 3"),
        ("de", "-5", "minus 5"),
        ("fr", "-5", "moins 5"),
        ("ko", "-5", "마이너스 5"),
        ("en", "75 % off", "75 percent off"),
        ("de", "75%", "75 Prozent"),
        ("fr", "75 %", "75 pour cent"),
        ("ko", "75%", "75 퍼센트"),
        ("en", "Q&A, 1 + 1 = 2, 20°", "Q and A, 1 plus 1 equals 2, 20 degrees"),
        ("en", "mail ann.b@a.com.", "mail ann dot b at a dot com."),
        ("en", "€20, 20 £, 5$, €1", "20 euros , 20 pounds , 5 dollars , 1 euro"),
        ("de", "$20 und 3,50 €", "20 Dollar und 3,50 Euro"),
        ("en", "yes — no", "yes, no"),
        ("en", "yes--no - maybe", "yes, no, maybe"),
        ("en", "— Yes, — no. — But —", "Yes, no. But"),
        ("de", "10–20", "10 20"),
        ("ko", "10-20", "10 20"),
        ("en", "and/or", "and or"),
        ("en", "Cafe\u0301", "Café"),
        ("en", "ＡＢ１２！", "AB12!"),
        ("en", "10^6, (1)(2), 3·1 and 1😀2", "10 6, (1 2), 3 1 and 1 2"),
        ("de", "10*6, 10×6, 1~2", "10 6, 10 6, 1 2"),
        ("en", "6'2 tall, 6’2\" tall, 5′11", '6 2 tall, 6 2" tall, 5 11'),
        ("de", "1'000'000", "1000000"),
        ("ko", "3.14, 1,000.5. 2024.1.2", "3 점 1 4, 1,000 점 5. 2024.1.2"),
    ],
)
def test_symbols_become_words(language: str, text: str, expected: str) -> None:
    assert said(text, language) == expected


@pytest.mark.parametrize(
    "text",
    [
        "non-autoregressive GPT-4, well-known",
        "$3.50 and £20 at 3/4",
        "Wait... what? No: way; yes!",
        "1,234,567.5",
        "3:30, 1。2、3 and 3.14",
        'She said "go" (twice)',
    ],
)
def test_all_else_stays(text: str) -> None:
    assert said(text) == text


def test_every_language_has_every_word() -> None:
    assert len({tuple(table) for table in _TABLES.values()}) == 1
    assert all(word for table in _TABLES.values() for word in table.values())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Dr. Smith", "doctor Smith"),
        ("Mr. and Mrs. Jones", "mister and misess Jones"),
        ("apples, pears, etc. Then", "apples, pears, et cetera. Then"),
        ("Jones Jr.", "Jones junior."),
        ("co-founder of Jones & Co.", "co-founder of Jones & company."),
        ("Gen Z; a rev counter; my hon", "Gen Z; a rev counter; my hon"),
        ("St. John", "saint John"),
        ("ask the dr", "ask the doctor"),
    ],
)
def test_titles_lose_their_dot_and_words_stay_words(text: str, expected: str) -> None:
    assert _ABBREVIATION.sub(_expand, text) == expected
