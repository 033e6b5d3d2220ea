"""Mandarin text to phones: the recordings of the release, and each difference between the modes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cn2an")
pytest.importorskip("jieba")
pytest.importorskip("pypinyin")

from reference_models.errors import InputError, MissingCheckpoint, MissingPackage
from reference_models.text import mandarin
from reference_models.text.mandarin import Mandarin
from reference_models.text.mandarin_resources import Lexicon, PolyphoneModel
from reference_models.text.phones import PHONE_IDS, encode


def official(lexicon: Lexicon, readings: list[tuple[str, int, str]] | None = None) -> Mandarin:
    """The official mode with recorded answers of the two resources."""
    answers = {(sentence, index): syllable for sentence, index, syllable in readings or []}
    return Mandarin(lexicon, lambda sentence, index: answers.get((sentence, index)), "official")


def golden_lines(golden: Path) -> list[dict[str, Any]]:
    path = golden / "g2p.jsonl"
    if not path.is_file():
        pytest.skip(f"no {path}")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    # texts with Latin letters are cut into runs first, which is the front end's part
    return [
        line
        for line in lines
        if line["lang"] == "zh" and "error" not in line and not re.search("[A-Za-z]", line["text"])
    ]


def test_golden_phones_and_ids(golden: Path) -> None:
    lines = golden_lines(golden)
    assert lines
    for line in lines:
        phones = official(line["stub_lexicon"], [tuple(entry) for entry in line["stub_poly"]]).to_phones(line["text"])
        assert "|".join(phones) + "|" == line["phones"], line["text"]
        assert list(encode(phones).ids) == line["ids"], line["text"]


def test_golden_fixed_mode_differs_where_official_garbles_only(golden: Path) -> None:
    for line in golden_lines(golden):
        answers = {(sentence, index): syllable for sentence, index, syllable in line["stub_poly"]}
        fixed = Mandarin(line["stub_lexicon"], lambda sentence, index, found=answers: found.get((sentence, index)))
        phones = fixed.to_phones(line["text"])
        if "↑" in line["phones"].split("|"):  # three third tones
            assert [p for p in phones if p[-1] not in "→↑↓"] == [
                p for p in line["phones"].split("|") if p and p[-1] not in "→↑↓"
            ]
        else:
            assert "|".join(phones) + "|" == line["phones"], line["text"]


LEXICON = {
    "你好": "ni3 hao3",
    "总统府": "zong3 tong3 fu3",
    **dict(
        zip(
            "你好去不一看听的三五",
            ["ni3", "hao3", "qu4", "bu4", "yi1", "kan4", "ting1", "de5", "san1", "wu3"],
            strict=True,
        )
    ),
}


def test_official_by_hand() -> None:
    assert official(LEXICON).to_phones("你好，去。") == ["n", "i↑", "x", "ɑʊ↓↑", ",", "tʃʰ", "ɥ↓", "."]


def test_polyphone_model_comes_before_the_lexicon_for_single_characters() -> None:
    assert official(LEXICON, [("好", 0, "hao4")]).to_phones("好") == ["x", "ɑʊ↓"]
    assert Mandarin(LEXICON, lambda _sentence, _index: "hao4").to_phones("好") == ["x", "ɑʊ↓"]


def test_lexicon_may_be_a_function_and_give_lists() -> None:
    words = {"你好": ["ni3", "hao3"]}
    assert Mandarin(words.get).to_phones("你好") == Mandarin(LEXICON).to_phones("你好") == ["n", "i↑", "x", "ɑʊ↓↑"]


def test_a_lost_bu() -> None:
    assert official(LEXICON).to_phones("你去不") == ["n", "i↓↑", "tʃʰ", "ɥ↓"]
    assert Mandarin(LEXICON).to_phones("你去不") == ["n", "i↓↑", "tʃʰ", "ɥ↓", "p⁼", "u↓"]


def test_the_place_after_a_lost_bu() -> None:
    asked: list[tuple[str, int]] = []

    def ask(sentence: str, index: int) -> str | None:
        asked.append((sentence, index))
        return None

    Mandarin(LEXICON, ask, "official").to_phones("不不,好")
    Mandarin(LEXICON, ask).to_phones("不不,好")
    places = [index for _, index in asked]
    assert places[: places.index(2) + 1][-1] == 2  # official asks at the comma for 好
    assert places[-1] == 3


def test_three_third_tones() -> None:
    assert official(LEXICON).to_phones("总统府") == ["ts⁼", "ʊŋ↓↑", "↑", "tʰ", "ʊŋ↓↑", "↑", "f", "u↓↑"]
    assert Mandarin(LEXICON).to_phones("总统府") == ["ts⁼", "ʊŋ↑", "tʰ", "ʊŋ↑", "f", "u↓↑"]


def test_an_unknown_character() -> None:
    assert official(LEXICON).to_phones("龘") == ["龘"]
    assert encode(official(LEXICON).to_phones("龘")).ids == ()
    assert Mandarin(LEXICON).to_phones("龘") == ["t⁼", "a↑"]


def test_a_character_of_an_extension() -> None:
    assert official(LEXICON).to_phones("㐀好") == ["x", "ɑʊ↓↑"]
    assert Mandarin({**LEXICON, "㐀": "qiu1"}).to_phones("㐀好") == ["tʃʰ", "ioʊ→", "x", "ɑʊ↓↑"]
    with pytest.raises(InputError, match=r"U\+20BB7"):
        Mandarin(LEXICON).to_phones("\U00020bb7")


@pytest.mark.parametrize("text", ["é好", "好の", "好½", "Привет"])
def test_characters_that_are_not_mandarin(text: str) -> None:
    assert official(LEXICON).to_phones(text) in ([], ["x", "ɑʊ↓↑"])
    with pytest.raises(InputError, match="cannot be read as Mandarin"):
        Mandarin(LEXICON).to_phones(text)


def test_a_syllable_outside_the_table_of_the_release() -> None:
    lexicon = {"你好": "ni3 cei4", "人": "nia3"}
    assert official(lexicon).to_phones("你好") == ["n", "i↑", "n", "i↓↑", "x", "ɑʊ↓↑"]  # ni3, and 你好
    assert Mandarin(lexicon).to_phones("你好") == ["n", "i↓↑", "tsʰ", "eɪ↓"]
    with pytest.raises(InputError, match="no reading"):
        official({}, [("好", 0, "nia3")]).to_phones("好")
    assert Mandarin({}, lambda _sentence, _index: "nia3").to_phones("好") == ["n", "ia↓↑"]


def test_too_few_syllables_in_the_lexicon() -> None:
    lexicon = {"第一名": "di4"}
    with pytest.raises(InputError, match="too few"):
        official(lexicon).to_phones("第一名")
    assert len(Mandarin(lexicon).to_phones("第一名")) == 5  # pypinyin reads it


@pytest.mark.filterwarnings("ignore::UserWarning")  # cn2an warns of what it leaves
def test_numbers() -> None:
    assert official(LEXICON).to_phones("-3.5")[:2] == ["负", "s"]
    assert Mandarin().normalize("他有2本书，花了¥1,234.50。") == "他有两本书,花了一千二百三十四点五零元."
    assert official(LEXICON).normalize("12345678901234567好") == "好"
    assert Mandarin().to_phones("2021年") == ["əɹ↓", "l", "iŋ↑", "əɹ↓", "i→", "n", "jɛn↑"]


def test_punctuation() -> None:
    text = "你，你。你！你？你；你：你、你‘你’你⋯你...你···你“你”（你）_你 你"
    marks = [",", ".", "!", "?", ";", ":", ",", "'", "'", "…", "…", "…", "_"]
    for reader in (official(LEXICON), Mandarin(LEXICON)):
        assert [phone for phone in reader.to_phones(text) if phone not in ("n", "i↓↑")] == marks
    assert official(LEXICON).to_phones("你__你")[2] == "__"
    assert Mandarin(LEXICON).to_phones("你__你")[2] == "_"


@pytest.mark.parametrize("text", ["", " ", "“”"])
def test_nothing_to_say(text: str) -> None:
    assert official(LEXICON).to_phones(text) == Mandarin().to_phones(text) == []


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("银行", "in↑ x ɑŋ↑"),
        ("行走", "ʃ iŋ↑ ts⁼ oʊ↓↑"),
        ("音乐", "in→ ɥɛ↓"),
        ("快乐", "kʰ uaɪ↓ l ə↓"),
        ("我们", "uo↓↑ m ən"),
        ("桌子", "ts`⁼ uo→ ts⁼"),
        ("嗯", "ən↑"),
        ("一点五", "i→ t⁼ jɛn↓↑ u↓↑"),
        ("看一看，听一听。", "kʰ an↓ i kʰ an↓ , tʰ iŋ→ i tʰ iŋ→ ."),
        ("\uf92c好", "l ɑŋ↑ x ɑʊ↓↑"),  # a compatibility ideograph (郎)
    ],
)
def test_without_resources(text: str, phones: str) -> None:
    assert Mandarin().to_phones(text) == phones.split()


def test_phones_are_those_of_the_table() -> None:
    text = "今天天气很好，我们去公园吧！桌子上有3,000本书；他说：‘不不不’…儿子、花儿、一一得一。"
    assert all(phone in PHONE_IDS for phone in Mandarin().to_phones(text))


@pytest.mark.parametrize(
    ("lexicon", "polyphone", "missing"),
    [
        (None, None, "chinese_lexicon.txt"),
        ({}, None, "g2p_chinese_model"),
        (None, lambda _s, _i: None, "chinese_lexicon"),
    ],
)
def test_official_without_its_resources(lexicon: Lexicon | None, polyphone: Any, missing: str) -> None:
    with pytest.raises(MissingCheckpoint) as caught:
        Mandarin(lexicon, polyphone, "official")
    assert caught.value.fix is not None
    assert missing in caught.value.fix


def test_official_asks_the_model_of_the_release_by_place() -> None:
    class Model(PolyphoneModel):
        def __init__(self) -> None:
            self.mode, self.characters = "official", frozenset("好")

        def predict(self, sentence: str, index: int) -> str:
            return "hao3" if sentence[index] == "好" else "wu2"

    assert Mandarin(LEXICON, Model(), "official").to_phones("不不，好")[-2:] == [",", "u↑"]  # the comma's reading


@pytest.mark.parametrize("package", ["jieba", "pypinyin", "cn2an"])
def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    mandarin._segmenter.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackage, match=package) as caught:
        Mandarin().to_phones("3你好")
    mandarin._segmenter.cache_clear()
    assert caught.value.fix == 'pip install "metis-bench[text]"'


def test_text_does_not_import_torch() -> None:
    code = (
        "import sys; from reference_models.text.mandarin import Mandarin; from reference_models.text import japanese; "
        "Mandarin().to_phones('你好'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    assert done.stderr == ""
