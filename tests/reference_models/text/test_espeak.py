"""eSpeak NG in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from reference_models.errors import InputError, MetisError, MissingPackage
from reference_models.text import espeak as module
from reference_models.text.espeak import LIBRARY_VARIABLE, Espeak, _as_in_1_51, _names, _spoken, _symbols, find_library


def say(espeak: Espeak, text: str, voice: str = "en-us") -> str:
    return " ".join("".join(word) for word in espeak.words([text], voice)[0])


@pytest.mark.parametrize(
    ("voice", "text", "phonemes"),
    [
        ("en-us", "hello world", "həloʊ wɜːld"),
        ("en-us", "didn't", "dɪdnt"),
        ("fr", "bonjour tout le monde", "bɔ̃ʒuʁ tulmɔ̃d"),
        ("de", "guten Morgen", "ɡuːtən mɔɾɡən"),
        ("ko", "안녕하세요", "ɐnnjʌŋhɐsejo"),
    ],
)
def test_every_voice_speaks(espeak: Espeak, voice: str, text: str, phonemes: str) -> None:
    assert say(espeak, text, voice) == phonemes


def test_stress_and_marks_of_another_language_are_gone(espeak: Espeak) -> None:
    clauses = espeak.clauses(["le weekend"], "fr")[0]
    assert "(en)" in clauses[0]
    assert "ˈ" in clauses[0]
    assert say(espeak, "le weekend", "fr") == "lə wiːkɛnd"


def test_the_words_of_1_51_whatever_the_version(espeak: Espeak) -> None:
    assert say(espeak, "four for story north") == "foːɹ fɔːɹ stoːɹi nɔːɹθ"
    assert say(espeak, "müssen über durch", "de") == "mysən yːbɜ d??ç"


def test_1_52_is_rewritten_by_phoneme_name() -> None:
    """Recorded from 1.52.0; 1.51 says f_ˈoːɹ f_ɔːɹ s_t_ˈoː_ɹ_i."""
    ipa, names = ["f_ˈɔːɹ f_ɔːɹ s_t_ˈɔː_ɹ_i"], ["f_'o@_:__: f_O@ s_t_'o@_r_i_;"]
    words = [_symbols(word) for word in _spoken(ipa)]
    told = _as_in_1_51(words, [_names(word) for word in _spoken(names)], module._RENAMED["en-us"])
    assert told == [["f", "oːɹ"], ["f", "ɔːɹ"], ["s", "t", "oː", "ɹ", "i"]]
    assert _as_in_1_51(words, [["f", "o@"]], module._RENAMED["en-us"]) == words  # the two answers do not correspond


def test_silence_at_the_edge_of_a_word_is_an_empty_phoneme() -> None:
    assert _symbols("_ˈaʊ_s") == ["", "aʊ", "s"]
    assert _symbols("s_ˈi_p__ˈi_") == ["s", "i", "p", "i", ""]
    assert _symbols("__") == []


def test_a_text_sounds_the_same_whatever_was_said_before(espeak: Espeak) -> None:
    texts = ["St. John's Rd. no. 5", "I read a book", "in 1999", "no. 7"]
    alone = {}
    for text in texts:
        with Espeak() as fresh:
            alone[text] = fresh.clauses([text], "en-us")
    assert {text: espeak.clauses([text], "en-us") for text in reversed(texts)} == alone


def test_texts_of_one_call_come_back_in_order(espeak: Espeak) -> None:
    texts = ["one", "", "two words", "three"]
    together = espeak.clauses(texts, "en-us")
    assert together == [espeak.clauses([text], "en-us")[0] for text in texts]
    assert espeak.clauses([], "en-us") == []


def test_long_texts_lose_nothing(espeak: Espeak) -> None:
    assert len(espeak.words(["word " * 700], "en-us")[0]) == 700


def test_an_unknown_voice_and_text_that_is_no_unicode_are_input_errors(espeak: Espeak) -> None:
    with pytest.raises(InputError, match="no voice 'xx-yy'"):
        espeak.clauses(["a"], "xx-yy")
    with pytest.raises(InputError, match="surrogates"):
        espeak.clauses(["a\ud800"], "en-us")
    assert say(espeak, "so\0so") == say(espeak, "so so")


def test_a_killed_server_is_replaced(espeak: Espeak) -> None:
    before = say(espeak, "hello")
    assert espeak._server is not None
    os.kill(espeak._server.pid, signal.SIGKILL)
    espeak._server.wait()
    assert say(espeak, "hello") == before
    assert espeak._server.poll() is None


def test_a_server_that_stops_answering_ends_one_text(espeak: Espeak, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.1)
    with Espeak(timeout_s=2.0) as stuck:
        before = say(stuck, "hello")
        assert stuck._server is not None
        os.kill(stuck._server.pid, signal.SIGSTOP)
        stuck.timeout_s = 0.2
        with pytest.raises(InputError, match="does not answer"):
            stuck.words(["hello"], "en-us")
        stuck.timeout_s = 10.0
        assert say(stuck, "hello") == before


def test_a_text_that_takes_too_long_ends_itself(espeak: Espeak) -> None:
    with Espeak(timeout_s=10.0) as slow:
        say(slow, "hello")
        server = slow._server
        slow.timeout_s = 0.01
        with pytest.raises(InputError, match="takes longer than"):
            slow.clauses(["antidisestablishmentarianism " * 200] * 500, "en-us")
        slow.timeout_s = 10.0
        assert say(slow, "hello") == "həloʊ"
        assert slow._server is server


def test_threads_share_one_server(espeak: Espeak) -> None:
    texts = [f"number {i}" for i in range(8)]
    expected = [say(espeak, text) for text in texts]
    found = [""] * len(texts)

    def work(index: int) -> None:
        found[index] = say(espeak, texts[index])

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


def _gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not _alive(pid)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_the_server_ends_with_close_and_with_its_object(espeak: Espeak) -> None:
    closed = Espeak()
    say(closed, "hi")
    assert closed._server is not None
    pid = closed._server.pid
    closed.close()
    assert _gone(pid, 2)
    forgotten = Espeak()
    say(forgotten, "hi")
    assert forgotten._server is not None
    pid = forgotten._server.pid
    del forgotten
    assert _gone(pid, 2)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("ending", ["pass", "os._exit(1)"])
def test_the_server_dies_with_its_parent(espeak: Espeak, ending: str) -> None:
    code = f"""
import os, sys, time
from reference_models.text.espeak import default_espeak
espeak = default_espeak(); espeak.words(["hi"], "en-us")
print(espeak._server.pid, flush=True)
if os.fork() == 0:  # a fork keeps the pipe open: its end alone must not be what the server waits for
    sys.stdout.close(); os.close(1); time.sleep(8); os._exit(0)
{ending}
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=30)
    assert _gone(int(done.stdout), 6)


def test_a_fork_starts_its_own_server(espeak: Espeak) -> None:
    say(espeak, "hi")
    assert espeak._server is not None
    pid = os.fork()
    if pid == 0:
        good = say(espeak, "hello") == "həloʊ"
        espeak.close()
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert espeak._server.poll() is None
    assert say(espeak, "hello") == "həloʊ"


def test_the_library_stays_out_of_this_process(espeak: Espeak) -> None:
    say(espeak, "word")
    if sys.platform == "linux":
        assert "libespeak" not in Path("/proc/self/maps").read_text()


def test_a_file_in_the_current_folder_shadows_nothing(
    espeak: Espeak, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "ctypes", "select", "sitecustomize", "usercustomize"):
        (tmp_path / f"{name}.py").write_text("open('ran', 'w').close(); raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with Espeak() as fresh:
        assert say(fresh, "hello") == "həloʊ"
    assert not (tmp_path / "ran").exists()


def test_another_library_may_be_given(espeak: Espeak, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library, data = find_library()
    link = tmp_path / "libmine.so"
    link.symlink_to(library) if "/" in library else link.write_bytes(b"")
    if "/" in library:
        with Espeak(link, data) as mine:
            assert say(mine, "hello") == "həloʊ"
            assert mine.version == espeak.version
    monkeypatch.setenv(LIBRARY_VARIABLE, str(link))
    assert find_library() == (str(link), "")


def test_a_library_that_is_none_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "libwrong.so"
    wrong.write_text("not a library")
    with pytest.raises(MetisError, match=r"libwrong\.so.*\n.*library="):
        Espeak(wrong).words(["a"], "en-us")
    monkeypatch.delenv(LIBRARY_VARIABLE, raising=False)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr("ctypes.util.find_library", lambda _: None)
    with pytest.raises(MissingPackage, match=r"metis-bench\[text\]"):
        find_library()
    assert not module.available()
