"""Speech by eSpeak NG."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from reference_models import _espeak_server
from reference_models.errors import InputError, MissingPackage, VoiceError
from reference_models.mini.espeak import EspeakEngine, Spoken, Voice, plain_text

SNAKES = "Six sizzling snakes slither past the station."


def digest(audio: Spoken) -> str:
    return hashlib.sha256(audio.samples.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def engine() -> Iterator[EspeakEngine]:
    pytest.importorskip("espeakng_loader")
    with EspeakEngine() as engine:
        yield engine


def loud_seconds(audio: Spoken) -> float:
    return float(np.mean(np.abs(audio.samples) > 0.005)) * audio.seconds


def test_the_same_request_gives_the_same_bits_whatever_was_said_before(engine: EspeakEngine) -> None:
    first = engine.synthesize(SNAKES, Voice("en-us+f2"))
    engine.synthesize("something else entirely", Voice("de", rate=120))
    assert digest(engine.synthesize(SNAKES, Voice("en-us+f2"))) == digest(first)
    with EspeakEngine() as fresh:
        fresh.synthesize("another order", Voice("en-us+m3"))
        assert digest(fresh.synthesize(SNAKES, Voice("en-us+f2"))) == digest(first)


def test_every_setting_changes_the_audio(engine: EspeakEngine) -> None:
    voices = [Voice(), Voice("en-us+f2"), Voice(rate=120), Voice(pitch=80), Voice(range=5), Voice(volume=40)]
    assert len({digest(engine.synthesize(SNAKES, v)) for v in voices}) == len(voices)


def test_the_seed_decides_the_noise_of_breathy_voices(engine: EspeakEngine) -> None:
    assert len({digest(engine.synthesize(SNAKES, Voice("en-us+whisper"), seed)) for seed in (0, 1, 2)}) == 3


def test_it_is_speech_at_22050_hz_and_slower_is_longer(engine: EspeakEngine) -> None:
    fast, slow = (engine.synthesize(SNAKES, Voice(rate=rate)) for rate in (200, 100))
    assert fast.rate == 22050
    assert 1.5 < fast.seconds < 4 < slow.seconds < 8
    assert 0.05 < np.abs(fast.samples).max() <= 1.0


def test_markup_is_read_out_not_obeyed(engine: EspeakEngine) -> None:
    short, long = (engine.synthesize(f"<speak>hi<break time='{s}s'/></speak>", Voice()) for s in (2, 9))
    assert abs(long.seconds - short.seconds) < 1.0
    bracket, word = engine.synthesize("[[h@loU]]", Voice()), engine.synthesize("hello", Voice())
    assert loud_seconds(bracket) > 1.4 * loud_seconds(word)  # spelled letters and "at", not the phonemes


def test_embedded_commands_and_nul_are_taken_out(engine: EspeakEngine) -> None:
    assert digest(engine.synthesize("\x0199P hello", Voice())) == digest(engine.synthesize("99P hello", Voice()))
    whole = engine.synthesize("hello there my friend", Voice())
    assert digest(engine.synthesize("hello\0there my friend", Voice())) == digest(whole)


@pytest.mark.parametrize("text", ["", "  \n", "\x01\x02", "..."])
def test_nothing_to_speak_is_an_input_error(engine: EspeakEngine, text: str) -> None:
    with pytest.raises(InputError, match="speak"):
        engine.synthesize(text, Voice())


def test_lone_surrogates_are_an_input_error() -> None:
    with pytest.raises(InputError, match="surrogates"):
        plain_text("a\ud800b")


@pytest.mark.parametrize(
    ("name", "hint"), [("en-usx", "did you mean 'en-us'"), ("en-us+klat", "did you mean 'klatt'"), ("en-gb", "en-gb-")]
)
def test_an_unknown_voice_names_the_nearest(engine: EspeakEngine, name: str, hint: str) -> None:
    with pytest.raises(VoiceError, match=hint):
        engine.check_voice(name)


def test_a_hang_ends_at_the_time_limit_and_the_next_text_is_fine() -> None:
    pytest.importorskip("espeakng_loader")
    with EspeakEngine(timeout_s=0.001) as engine:
        with pytest.raises(InputError, match="longer than"):
            engine.synthesize(SNAKES * 200, Voice())
        engine.timeout_s = 30.0
        assert engine.synthesize("hi", Voice()).seconds > 0.2


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingPackage, match=r"pip install .*\[embedded\]"):
        EspeakEngine().synthesize("hi", Voice())


def test_asking_for_phones_does_not_change_the_sound(
    engine: EspeakEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voices = [Voice(), Voice("en-us+f5", 150), Voice("en-us+klatt4", 136, 60), Voice("en-us+whisper")]
    told = [engine.synthesize(SNAKES, voice, seed=3) for voice in voices]
    source = Path(str(_espeak_server.__file__)).read_text(encoding="utf-8")
    silent = source.replace("options = PHONEME_EVENTS | EVENTS_IN_IPA | DONT_EXIT", "options = DONT_EXIT")
    assert silent != source
    (tmp_path / "server.py").write_text(silent, encoding="utf-8")
    monkeypatch.setattr(_espeak_server, "__file__", str(tmp_path / "server.py"))
    with EspeakEngine() as mute:
        untold = [mute.synthesize(SNAKES, voice, seed=3) for voice in voices]
    assert [digest(spoken) for spoken in untold] == [digest(spoken) for spoken in told]
    assert [len(spoken.phones) for spoken in untold] == [1] * len(voices)
    assert all(len(spoken.phones) > 30 for spoken in told)
