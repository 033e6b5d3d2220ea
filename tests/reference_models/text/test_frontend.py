"""The whole way from text to ids, against the release and against what the fixed mode promises."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reference_models.errors import InputError
from reference_models.text import Espeak, Phones, phonemize
from reference_models.text.frontend import LANGUAGES, runs

Line = dict[str, Any]


class Chinese:
    """Says each character as itself."""

    def to_phones(self, text: str) -> list[str]:
        return [f"zh:{character}" for character in text if character.isalnum()]


def golden_lines(golden: Path, *languages: str) -> list[Line]:
    lines = [json.loads(line) for line in (golden / "g2p.jsonl").read_text(encoding="utf-8").splitlines() if line]
    found = [line for line in lines if line["lang"] in languages]
    if not found:
        pytest.skip(f"the golden file has no line in {', '.join(languages)}")
    return found


def mandarin(line: Line) -> Any:
    """Official Mandarin with the answers that the line recorded."""
    if line["lang"] != "zh":
        return None
    for package in ("jieba", "cn2an", "pypinyin"):
        pytest.importorskip(package)
    from reference_models.text.mandarin import Mandarin

    answers = {(sentence, index): pinyin for sentence, index, pinyin in line["stub_poly"]}
    return Mandarin(line["stub_lexicon"], lambda sentence, index: answers.get((sentence, index)), "official")


def difference(line: Line, espeak: Espeak) -> str | None:
    """What our answer to a recorded line is, if it is another."""
    try:
        ours = phonemize(line["text"], line["lang"], "official", espeak=espeak, mandarin=mandarin(line))
    except InputError as error:
        recorded = line.get("error", "no error").removeprefix("Exception: ")
        return None if error.message.startswith(recorded.strip()) else f"{line['text']!r}: raised {error}"
    if "error" in line:
        return f"{line['text']!r}: did not raise {line['error']}"
    phones = [phone for phone in line["phones"].split("|") if phone]
    if list(ours.symbols) == phones and list(ours.ids) == line["ids"]:
        return None
    return f"{line['text']!r}: {'|'.join(ours.symbols)} instead of {'|'.join(phones)}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_golden_lines_of_the_release(golden: Path, espeak: Espeak, language: str) -> None:
    if language == "ja":
        pytest.importorskip("pyopenjtalk")
    different = [found for line in golden_lines(golden, language) if (found := difference(line, espeak))]
    assert not different, "\n".join(different)


def test_golden_lines_do_not_depend_on_order(golden: Path, espeak: Espeak) -> None:
    lines = [line for line in golden_lines(golden, "en", "fr", "de", "ko") if "error" not in line]
    ids = {
        (line["lang"], line["text"]): phonemize(line["text"], line["lang"], "official", espeak=espeak).ids
        for line in reversed(lines)
    }
    assert all(ids[line["lang"], line["text"]] == tuple(line["ids"]) for line in lines)


def joined(phones: Phones) -> str:
    return "".join(phones.symbols).replace("_", " ")


@pytest.mark.parametrize(
    ("language", "text", "phones"),
    [
        ("en", "Which witch is which?", "wɪtʃ wɪtʃ ɪz wɪtʃ?"),
        ("en", "Wait... what? No way!", "weɪt…wʌt?noʊ weɪ!"),
        ("en", "Treasure, trees, drums", "tɹɛʒɚ,tɹiːz,dɹʌmz"),
        ("fr", "Un bon vin blanc", "œ̃ bɔ̃ vɛ̃ blɑ̃"),
        ("de", "Tschüss!", "tʃys!"),
        ("ko", "몇 시예요?", "mjʌtsijejo?"),
    ],
)
def test_plain_texts_are_the_same_in_both_modes(espeak: Espeak, language: str, text: str, phones: str) -> None:
    fixed, official = (phonemize(text, language, mode, espeak=espeak) for mode in ("fixed", "official"))
    assert joined(fixed) == phones
    assert fixed == official


@pytest.mark.parametrize(
    ("language", "text", "official", "fixed"),
    [
        ("en", "It's", "ɪt'ɛs", "ɪts"),
        ("en", "didn't, can’t", "dɪdən'tiː,kæn'tiː", "dɪdnt,kænt"),
        ("en", "it is -12.5", "ɪɾ ɪz twɛlv pɔɪnt faɪv", "ɪɾ ɪz maɪnəs twɛlv pɔɪnt faɪv"),
        ("en", "about 75 % now", "ɚbaʊt sɛvəntɪfaɪv naʊ", "ɚbaʊt sɛvəntɪfaɪv pɚsɛnt naʊ"),
        ("en", "vision & beige", "vɪʒən beɪʒ", "vɪʒən ænd beɪʒ"),
        ("en", "me @ home", "miː hoʊm", "miː æt hoʊm"),
        ("en", "it — and left", "ɪɾ ænd lɛft", "ɪt,ænd lɛft"),
        ("en", "Dr. Smith", "dɑːktɚ.smɪθ", "dɑːktɚ smɪθ"),
        ("en", "St. John's", "seɪnt.dʒɑːn'ɛs", "seɪnt dʒɑːnz"),
        ("fr", "J'ai 2 chats", "ʒi'e dø ʃa", "ʒe dø ʃa"),
        ("de", "75%", "fynf ʊntziːptsɪç", "fynf ʊntziːptsɪç pɾoːtsɛnt"),
        ("de", "Version 2.5 ist da.", "vɛɾzjoːn tsvaɪ.\nfynf ɪst dɑː", "vɛɾzjoːn tsvaɪ pʊŋkt fynf ɪst dɑː."),
        ("ko", "-5", "o", "mɐinʌsɯo"),
    ],
)
def test_what_the_fixed_mode_mends(espeak: Espeak, language: str, text: str, official: str, fixed: str) -> None:
    pytest.importorskip("inflect")
    assert joined(phonemize(text, language, "official", espeak=espeak)) == official
    assert joined(phonemize(text, language, espeak=espeak)) == fixed


@pytest.mark.parametrize("text", ["123", "2024!", "!?", ""])
def test_the_official_mode_refuses_texts_without_letters(espeak: Espeak, text: str) -> None:
    with pytest.raises(InputError, match="Unknown language: "):
        phonemize(text, "en", "official", espeak=espeak)


def test_the_fixed_mode_reads_numbers_alone(espeak: Espeak) -> None:
    pytest.importorskip("inflect")
    assert joined(phonemize("123", "en", espeak=espeak)) == "wʌn hʌndɹɪd twɛntɪθɹiː"
    assert joined(phonemize("2024!", "en", espeak=espeak)) == "twɛnti twɛntɪfoːɹ!"
    assert phonemize("12", "zh", espeak=espeak, mandarin=_Says("a")).symbols == ("a",)


class _Says:
    def __init__(self, phone: str) -> None:
        self.phone = phone

    def to_phones(self, text: str) -> list[str]:
        return [self.phone]


@pytest.mark.parametrize("language", ["en", "fr", "de", "ko"])
@pytest.mark.parametrize("text", ["", " \n", "!?", "—", "_", "...", '""'])
def test_nothing_to_say_is_an_input_error(espeak: Espeak, language: str, text: str) -> None:
    with pytest.raises(InputError, match="nothing to say"):
        phonemize(text, language, espeak=espeak)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我用iPhone打电话", [("zh", "我用"), ("en", "iPhone"), ("zh", "打电话")]),
        ("3个 apples, 好!", [("zh", "3个 "), ("en", "apples, "), ("zh", "好!")]),
        ("Two words é", [("en", "Two words é")]),
        ("123!", [("other", "123!")]),
        ("", []),
    ],
)
def test_runs(text: str, expected: list[tuple[str, str]]) -> None:
    assert runs(text) == expected
    assert "".join(part for _, part in runs(text)) == text


def test_the_fixed_mode_counts_all_latin_letters() -> None:
    assert runs("好 é 1") == [("zh", "好 é 1")]
    assert runs("好 é 1", "fixed") == [("zh", "好 "), ("en", "é 1")]
    assert runs("ＡＢ好", "fixed") == [("en", "ＡＢ"), ("zh", "好")]


@pytest.mark.parametrize("language", ["zh", "en"])
def test_chinese_and_english_in_one_text(espeak: Espeak, language: str) -> None:
    phones = phonemize("他用phone打，说hi", language, "official", espeak=espeak, mandarin=Chinese())
    assert "|".join(phones.symbols) == "zh:他|zh:用|f|oʊ|n|_|zh:打|zh:说|h|aɪ"
    assert phones.dropped == ("zh:他", "zh:用", "zh:打", "zh:说")
    assert phonemize("red 红", language, "official", espeak=espeak, mandarin=Chinese()).symbols[2:] == ("d", "zh:红")


@pytest.mark.parametrize(
    ("language", "nearest"), [("english", "en"), ("de-DE", "de"), ("cmn", "zh"), ("jp", "ja"), ("kor", "ko")]
)
def test_an_unknown_language_names_the_nearest(espeak: Espeak, language: str, nearest: str) -> None:
    with pytest.raises(InputError, match=rf"no language '{language}'\n.*did you mean '{nearest}'"):
        phonemize("hi", language, espeak=espeak)
    official = phonemize("hi", language, "official", espeak=espeak)
    assert official == phonemize("hi", "en", "official", espeak=espeak)


def test_no_language_is_asked_for_or_detected(espeak: Espeak, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no language"):
        phonemize("hi", espeak=espeak)
    monkeypatch.setitem(sys.modules, "langid", None)
    with pytest.raises(InputError, match="'langid'"):
        phonemize("hi", None, "official", espeak=espeak)

    class Detector:
        answer = "de"

        def classify(self, text: str) -> tuple[str, float]:
            return self.answer, -1.0

    monkeypatch.setitem(sys.modules, "langid", Detector())
    found = phonemize("Guten Tag", None, "official", espeak=espeak)
    assert found == phonemize("Guten Tag", "de", "official", espeak=espeak)
    monkeypatch.setattr(Detector, "answer", "it")
    assert phonemize("Hi", None, "official", espeak=espeak) == phonemize("Hi", "en", "official", espeak=espeak)


def test_text_needs_no_torch() -> None:
    code = "import sys, reference_models.text, reference_models.text.english; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
