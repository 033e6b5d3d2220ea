"""eSpeak NG in a process of its own, whatever is asked of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reference_models import espeak as module
from reference_models.errors import InputError
from reference_models.text.espeak import Espeak, available


@pytest.fixture(scope="module")
def espeak() -> Iterator[Espeak]:
    if not available():
        pytest.skip("needs an eSpeak NG library: espeakng-loader, METIS_ESPEAK_LIBRARY or the system's")
    with Espeak() as espeak:
        yield espeak


def say(espeak: Espeak, text: str) -> str:
    return " ".join("".join(word) for word in espeak.words([text], "en-us")[0])


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


def test_many_open_files_are_no_obstacle(espeak: Espeak) -> None:
    """select() knows no file numbers above 1023."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1200:
        pytest.skip("this machine allows fewer open files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    opened = [os.open(os.devnull, os.O_RDONLY) for _ in range(1050)]
    try:
        with Espeak() as late:
            assert say(late, "hello") == say(espeak, "hello")
    finally:
        for number in opened:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_request_may_be_larger_than_a_pipe(espeak: Espeak) -> None:
    assert len(espeak.words(["word " * 30_000], "en-us")[0]) == 30_000
