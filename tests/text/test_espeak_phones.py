"""eSpeak NG as a pronouncing dictionary."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from metis_bench.text import espeak_phones
from metis_bench.text.espeak_phones import IPA_TO_ARPABET, pronounce, to_arpabet

VOWELS = {"AA", "AE", "AH", "AO", "AW", "AY", "EH", "ER", "EY", "IH", "IY", "OW", "OY", "UH", "UW"}
STOPS = {"B", "D", "G", "K", "P", "T", "CH", "JH"}
OTHERS = {"DH", "F", "HH", "L", "M", "N", "NG", "R", "S", "SH", "TH", "V", "W", "Y", "Z", "ZH"}


def test_every_phone_is_one_the_acoustic_model_knows() -> None:
    used = {phone for phones in IPA_TO_ARPABET.values() for phone in phones.split()}
    assert used == VOWELS | STOPS | OTHERS


@pytest.mark.parametrize(
    ("ipa", "phones"),
    [
        ("w_ˈɜː_d", "W ER D"),
        ("t_w_ˈɛ_n_t_i f_ˈaɪ_v", "T W EH N T IY F AY V"),
        ("ˌoʊ__ˈʊ_m_l_aʊ_t_", "OW UH M L AW T"),
        ("", None),
        ("t_y_p", None),  # no such sound in American English
    ],
)
def test_ipa_to_arpabet(ipa: str, phones: str | None) -> None:
    assert to_arpabet(ipa) == phones


def test_real_words() -> None:
    pytest.importorskip("espeakng_loader")
    spoken = pronounce(["whittemore", "25", "don't", "judge", "'"])
    assert spoken == {
        "whittemore": "W IH T IH M AO R",
        "25": "T W EH N T IY F AY V",
        "don't": "D OW N T",
        "judge": "JH AH JH",
        "'": None,
    }


def test_one_word_alone_sounds_as_among_others() -> None:
    pytest.importorskip("espeakng_loader")
    together = pronounce(["umbrella", "x", "1984", "naïve"])
    assert together == {word: pronounce([word])[word] for word in together}


def test_the_library_stays_out_of_this_process() -> None:
    pytest.importorskip("espeakng_loader")
    pronounce(["word"])
    if sys.platform == "linux":
        assert "espeak" not in Path("/proc/self/maps").read_text()


def test_nothing_wanted_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(espeak_phones, "Espeak", pytest.fail)
    assert pronounce([]) == {}


@pytest.mark.parametrize("pythonpath", ["", ".", None])
def test_a_file_in_the_current_folder_shadows_nothing(
    pythonpath: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("espeakng_loader")
    for name in ("json", "ctypes", "struct", "sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close(); raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    if pythonpath is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", pythonpath or str(tmp_path))
    assert pronounce(["judge"]) == {"judge": "JH AH JH"}
    assert not (tmp_path / "ran").exists()
