from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from metis_bench.audio import Audio
from metis_bench.errors import ItemError, MissingPrerequisite, SuiteError
from metis_bench.systems.base import Request, fingerprint, systems
from metis_bench.systems.espeak import VOICES, EspeakParams
from reference_models.mini.espeak import EspeakEngine, Voice, plain_text

SNAKES = "Six sizzling snakes slither past the station."


def digest(audio: Audio) -> str:
    return hashlib.sha256(audio.samples.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def engine() -> Iterator[EspeakEngine]:
    pytest.importorskip("espeakng_loader")
    with EspeakEngine() as engine:
        yield engine


def loud_seconds(audio: Audio) -> float:
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
def test_nothing_to_speak_is_an_item_error(engine: EspeakEngine, text: str) -> None:
    with pytest.raises(ItemError, match="speak"):
        engine.synthesize(text, Voice())


def test_lone_surrogates_are_an_item_error() -> None:
    with pytest.raises(ItemError, match="surrogates"):
        plain_text("a\ud800b")


@pytest.mark.parametrize(
    ("name", "hint"), [("en-usx", "did you mean 'en-us'"), ("en-us+klat", "did you mean 'klatt'"), ("en-gb", "en-gb-")]
)
def test_an_unknown_voice_names_the_nearest(engine: EspeakEngine, name: str, hint: str) -> None:
    with pytest.raises(SuiteError, match=hint):
        engine.check_voice(name)


def test_a_hang_ends_at_the_time_limit_and_the_next_item_is_fine() -> None:
    pytest.importorskip("espeakng_loader")
    with EspeakEngine(timeout_s=0.001) as engine:
        with pytest.raises(ItemError, match="longer than"):
            engine.synthesize(SNAKES * 200, Voice())
        engine.timeout_s = 30.0
        assert engine.synthesize("hi", Voice()).seconds > 0.2


def test_a_killed_server_is_replaced(engine: EspeakEngine) -> None:
    before = digest(engine.synthesize(SNAKES, Voice()))
    assert engine._server is not None
    os.kill(engine._server.pid, signal.SIGKILL)
    engine._server.wait()
    assert digest(engine.synthesize(SNAKES, Voice())) == before


def test_a_server_that_stops_answering_is_an_item_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    monkeypatch.setattr("reference_models.mini.espeak.GRACE_S", 0.1)
    with EspeakEngine(timeout_s=0.2) as engine:
        engine.synthesize("hi", Voice())
        assert engine._server is not None
        os.kill(engine._server.pid, signal.SIGSTOP)
        with pytest.raises(ItemError, match="does not answer"):
            engine.synthesize("hi", Voice())
        assert engine.synthesize("hi", Voice()).seconds > 0.2


def test_threads_share_one_engine(engine: EspeakEngine) -> None:
    texts = [f"number {i}" for i in range(8)]
    expected = [digest(engine.synthesize(t, Voice())) for t in texts]
    found = [""] * len(texts)

    def work(index: int) -> None:
        found[index] = digest(engine.synthesize(texts[index], Voice()))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(texts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_server_dies_with_its_parent() -> None:
    pytest.importorskip("espeakng_loader")
    code = """
import os, time
from reference_models.mini.espeak import EspeakEngine, Voice
engine = EspeakEngine(); engine.synthesize("hi", Voice())
if os.fork() == 0:  # a fork keeps the pipe open: its end alone must not be what the server waits for
    time.sleep(20); os._exit(0)
print(engine._server.pid, flush=True)
os._exit(1)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        server = int(parent.stdout.readline())
        parent.wait()
        deadline = time.monotonic() + 6
        while _alive(server) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not _alive(server)


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(MissingPrerequisite, match=r"pip install .*\[embedded\]"):
        EspeakEngine().synthesize("hi", Voice())


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
    with EspeakEngine() as engine:
        assert engine.synthesize("hi", Voice()).seconds > 0.2
    assert not (tmp_path / "ran").exists()
