from __future__ import annotations

import sys

import pytest

from metis_bench.errors import ItemError, MissingPrerequisite, SuiteError
from metis_bench.systems.base import Request, fingerprint, systems
from metis_bench.systems.espeak import VOICES, EspeakParams


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "hello"),
        ("zh", "今天天气很好"),
        ("de", "Guten Tag"),
        ("fr", "bonjour"),
        ("ja", "こんにちは"),
        ("ko", "안녕하세요"),
    ],
)
def test_the_system_speaks_every_mapped_language(language: str, text: str) -> None:
    pytest.importorskip("espeakng_loader")
    system = systems.get("espeak")(EspeakParams())
    system.check()
    system.setup()
    try:
        assert language in VOICES
        assert system.generate(Request("a", "tts", language, 0, text=text)).seconds > 0.3
    finally:
        system.close()


def test_the_system_refuses_what_it_cannot_say() -> None:
    pytest.importorskip("espeakng_loader")
    system = systems.get("espeak")(EspeakParams())
    system.setup()
    try:
        with pytest.raises(ItemError, match="language 'xx'"):
            system.generate(Request("a", "tts", "xx", 0, text="hello"))
        with pytest.raises(ItemError, match="text"):
            system.generate(Request("a", "tts", "en", 0))
    finally:
        system.close()


def test_a_wrong_voice_stops_the_system_at_setup() -> None:
    pytest.importorskip("espeakng_loader")
    with pytest.raises(SuiteError, match="did you mean 'f5'"):
        systems.get("espeak")(EspeakParams(voice="en-us+ff5")).setup()


def test_the_fingerprint_follows_parameters_and_the_server_source() -> None:
    pytest.importorskip("espeakng_loader")
    plain, other = (fingerprint(systems.get("espeak")(p)) for p in (EspeakParams(), EspeakParams(rate=161)))
    assert plain != other


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingPrerequisite, match=r"pip install .*\[embedded\]"):
        systems.get("espeak")(EspeakParams()).setup()
