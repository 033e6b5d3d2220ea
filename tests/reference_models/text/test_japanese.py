"""Japanese text to phones. No recording of the release exists: expected phones follow from its rules, by hand."""

from __future__ import annotations

from importlib import metadata

import pytest

from reference_models.errors import InputError, MissingPackage
from reference_models.text import japanese
from reference_models.text.japanese import Japanese, _labelled_sounds
from reference_models.text.phones import PHONE_IDS


@pytest.fixture(scope="module")
def fixed() -> Japanese:
    pytest.importorskip("pyopenjtalk")
    return Japanese()


@pytest.fixture(scope="module")
def official() -> Japanese:
    pytest.importorskip("pyopenjtalk")
    return Japanese("official")


@pytest.mark.parametrize(
    ("text", "phones"),
    [
        ("こんにちは、世界。", "k o ɴ n i tɕ i ɰᵝ a , s e k a i ."),
        ("私はそう思う！", "ɰᵝ a t a ɕ i ɰᵝ a s o o o m o ɯ !"),
        ("東京タワー", "t o o kj o o t a ɰᵝ a a"),
        ("ラーメンを食べた？", "ɾ a a m e ɴ o t a b e t a ?"),
        ("学校へ行った", "g a q k o o e i q t a"),
        ("100円", "çj a k ɯ e ɴ".replace("ç", "c\u0327")),
        ("「はい」", "ç a i".replace("ç", "c\u0327")),
        ("漢字・かな", "k a ɴ dʑ i , k a n a"),
        ("三つ…", "m i q tsɯ ɯ …"),
        ("'あ い'", "a i"),
        ("ヴュ", "bj ɯ"),
        ("テレビ。\n次", "t e ɾ e b i . tsɯ ɯ g i"),
    ],
)
def test_both_modes(official: Japanese, fixed: Japanese, text: str, phones: str) -> None:
    assert official.to_phones(text) == phones.split()
    assert fixed.to_phones(text) == phones.split()
    assert all(phone in PHONE_IDS for phone in phones.split())


@pytest.mark.parametrize(
    ("text", "official_says", "fixed_says"),
    [
        ("クォ", "k ɯ o", "kɯ o"),
        ("あ、ー", "a , ,", "a ,"),
        ("ーあ", "a a", "a"),
        ("-5度", "g o d o", "m a i n a s ɯ g o d o"),
        ("50%", "g o dʑ ɯ q", "g o dʑ ɯ q p a a s e ɴ t o"),
        ("1/2", "i tɕ i n i", "n i b ɯ ɴ n o i tɕ i"),
        ("03-1234-5678", "", "z e ɾ o s a ɴ i tɕ i n i i s a ɴ j o ɴ g o o ɾ o k ɯ n a n a c\u0327 a tɕ i"),
        ("Привет", "", None),
        ("あé", "a", None),
        ("フューです。はい", None, "ɸ j ɯ ɯ d e s ɯ . c\u0327 a i"),
        ("(^^)", None, ""),
        ("ヷ", None, "v a"),
    ],
)
def test_what_the_modes_read_differently(
    official: Japanese, fixed: Japanese, text: str, official_says: str | None, fixed_says: str | None
) -> None:
    for reader, says in ((official, official_says), (fixed, fixed_says)):
        if says is None:
            with pytest.raises(InputError):
                reader.to_phones(text)
        else:
            assert reader.to_phones(text) == says.split()


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("$100", "100ドル"),
        ("¥1,000です", "1,000円です"),
        ("12:30", "12時30分"),
        ("9:00", "9時"),
        ("2024/1/5", "2024年1月5日"),
        ("2024-01-05", "2024年1月5日"),
        ("3〜5個", "3から5個"),
        ("10-20", "10から20"),
        ("03-1234-5678", "03-1234-5678"),
        ("気温は−5℃", "気温はマイナス5℃"),
        ("ゲーム-オーバー", "ゲーム-オーバー"),
    ],
)
def test_signs_between_numbers(official: Japanese, fixed: Japanese, text: str, normalized: str) -> None:
    assert fixed.normalize(text) == normalized
    assert official.normalize(text) == text


def test_the_last_phrase_is_not_checked() -> None:
    def label(sound: str, to_end: int, place: int) -> str:
        return f"x^x-{sound}+x=x/A:0+{place}+{to_end}/B:x"

    labels = ["x^x-sil+x=x/A:xx+xx+xx/B:x", label("k", 1, 1), label("A", 1, 1), label("cl", 1, 1), label("o", 1, 2)]
    assert _labelled_sounds(labels) == ["k", "a", "q"][:2]
    assert _labelled_sounds([*labels, "x^x-pau+x=x/A:xx+xx+xx/B:x"]) == ["k", "a", "q", "o"]
    assert _labelled_sounds([]) == []


@pytest.mark.parametrize("installed", ["pyopenjtalk", None])
def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, installed: str | None) -> None:
    def version(name: str) -> str:
        if name == installed:
            return "0.4.1"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(japanese.metadata, "version", version)
    with pytest.raises(MissingPackage, match="pyopenjtalk-plus") as caught:
        Japanese()
    assert caught.value.fix == 'pip install "metis-bench[ja]"'
