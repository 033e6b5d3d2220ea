"""`metis-bench baselines env|fetch|new`: what is made and fetched, with what, and what is left to the user."""

from __future__ import annotations

import http.server
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants, errors

from metis_bench.baselines import create, ladder, machine, scaffold
from metis_bench.config import BASELINES
from metis_bench.corpora.base import Task
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import sha256_bytes
from tests.baselines.conftest import Command, Write
from tests.baselines.test_commands import git

Says = Callable[..., None]
UV = """#!/bin/sh
echo "$UV_INDEX_OF_MINE|$PYTHONPATH|$@" >> {log}
[ "$1" = venv ] && mkdir -p {env}/bin && ln -s {python} {env}/bin/python
exit {code}
"""


@pytest.fixture
def uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """`uv(code=0)`: a stand-in for uv on the PATH, that notes what it is asked for."""

    def put(code: int = 0) -> Path:
        folder, log = tmp_path / "bin", tmp_path / "uv.log"
        folder.mkdir(exist_ok=True)
        env = machine.env_folder("toy")
        (folder / "uv").write_text(UV.format(log=log, env=env, python=sys.executable, code=code))
        (folder / "uv").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return log

    return put


def test_env_with_uv(write: Write, machine_says: Says, command: Command, uv: Any, monkeypatch: Any) -> None:
    log = uv()
    monkeypatch.setenv("UV_INDEX_OF_MINE", "as it is")
    monkeypatch.setenv("PYTHONPATH", "/of/ours")
    requires = ["numpy>=1", "--no-deps --pre"]
    env = {"python": ">=3.9, <3.20", "requires": requires, "steps": ["make it"], "system": ["no-such-tool"]}
    write(env=env, licence={"code": "MIT", "weights": "NC", "accept": ["nc"]}, weights=[{"id": "w", "hf": "a/b"}])
    python = machine.env_folder("toy") / "bin" / "python"

    printed = command("baselines", "env", "toy", "--print")
    assert printed.code == 0
    assert not log.exists(), "--print runs nothing"
    assert f"uv pip install --python {python} 'numpy>=1' --no-deps --pre" in printed.out

    done = command("baselines", "env", "toy", "--json")
    assert done.code == 0, done.err
    venv, install = log.read_text().splitlines()
    assert venv == f"as it is||venv --seed --python >=3.9,<3.20 {python.parent.parent}", (
        "pip's settings stay, our path not"
    )
    assert install == f"as it is||pip install --python {python} numpy>=1 --no-deps --pre"
    left = {row["what"]: row["fix"] for row in done.json["remaining"]}
    assert left["step"] == "make it"
    assert "no-such-tool" in left["tool"]
    assert "accept: [nc]" in left["licence"]
    assert left["weights"] == "metis-bench baselines fetch toy"
    assert left["then"] == "metis-bench baselines doctor toy"

    command("baselines", "env", "toy")
    assert len(log.read_text().splitlines()) == 3, "an environment that is there is only installed into"


def test_env_that_fails(write: Write, machine_says: Says, command: Command, uv: Any) -> None:
    uv(code=3)
    write(env={"requires": ["numpy"]})
    done = command("baselines", "env", "toy")
    assert done.code == 5
    assert "exit code 3" in done.err
    assert "the same command again" in done.err


def test_env_without_uv(write: Write, machine_says: Says, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"python3.9": "/stand/in", "python3.10": "/usr/bin/false"}
    monkeypatch.setattr(shutil, "which", lambda name: found.get(name))
    old = write(env={"python": "<3.10", "requires": ["numpy"]}).manifest
    with pytest.raises(MissingPrerequisite, match=r"needs Python <3\.10, and none") as caught:
        create.find_python(old)
    assert "conda create -n toy python=3.9" in str(caught.value.fix)
    assert "python3.9 -m venv" in command("baselines", "env", "toy", "--print").out, "it may be run elsewhere"
    ours = write(env={"requires": ["numpy"]}).manifest
    assert create.find_python(ours) == sys.executable


def test_a_real_environment(
    write: Write, machine_says: Says, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    write(adapter=scaffold.ADAPTER_PY.format(name="toy", copied="prompt", inputs=""), env={"steps": ["true"]})
    assert command("baselines", "env", "toy").code == 0
    rows = {row.step: row for row in ladder.examine("toy", smoke=False).rows}
    assert str(machine.env_folder("toy")) in rows["interpreter"].detail
    assert rows["worker"].status == "ok"
    write(env={"python": "<3.9", "steps": ["true"]})
    done = command("baselines", "env", "toy")
    assert done.code == 5
    assert f"rm -r {machine.env_folder('toy')}" in done.err


def test_env_where_there_is_none_to_make(write: Write, machine_says: Says, command: Command) -> None:
    write()
    assert "no environment of its own" in command("baselines", "env", "toy").out
    write("brought", adapter=None, status="manual")
    done = command("baselines", "env", "brought")
    assert (done.code, "baselines show brought" in done.err) == (2, True)
    machine_says(toy={"python": "/mine/python"})
    done = command("baselines", "env", "toy")
    assert (done.code, "/mine/python" in done.err) == (2, True)


def test_clone(write: Write, machine_says: Says, command: Command, tmp_path: Path) -> None:
    repo = tmp_path / "upstream"
    repo.mkdir()
    git("init", "-q", cwd=repo)
    git("commit", "-q", "--allow-empty", "-m", "one", cwd=repo)
    head = git("rev-parse", "HEAD", cwd=repo)
    wrong = write(upstream={"url": str(repo), "clone": True, "commit": "0123abcd"}).manifest
    done = command("baselines", "env", "toy", "--clone")
    assert done.code == 5
    assert not machine.repo_folder(wrong).exists(), "what was cut off is not taken for a checkout"
    manifest = write(upstream={"url": str(repo), "clone": True, "commit": head}).manifest
    first = command("baselines", "env", "toy")
    assert "env toy --clone" in first.out, "nothing is cloned unless it is asked for"
    assert not machine.repo_folder(manifest).exists()
    assert command("baselines", "env", "toy", "--clone").code == 0
    assert git("rev-parse", "HEAD", cwd=machine.repo_folder(manifest)) == head
    assert {row.step: row for row in ladder.examine("toy", smoke=False).rows}["checkout"].status == "ok"


WEIGHTS = [
    {"id": "file", "hf": "owner/name", "file": "sub/model.pt", "sha256": sha256_bytes(b"sub/model.pt")},
    {"id": "folder", "hf": "owner/name", "files": ["config.json", "*.txt"], "dest": "all", "revision": "abc"},
    {"id": "drive", "manual": "get it from the drive"},
    {"id": "more", "hf": "owner/more", "optional": True},
]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The hub's downloads, made here: a file holds its own name."""
    asked: list[tuple[Any, ...]] = []

    def one(repo: str, file: str, *, revision: str | None, local_dir: Path) -> str:
        asked.append((repo, file, revision))
        (local_dir / file).parent.mkdir(parents=True)
        (local_dir / ".cache").mkdir()
        (local_dir / file).write_text(file)
        return str(local_dir / file)

    def many(repo: str, *, revision: str | None, allow_patterns: list[str] | None, local_dir: Path) -> str:
        asked.append((repo, allow_patterns, revision))
        (local_dir / ".cache").mkdir(parents=True)
        (local_dir / "config.json").write_text("{}")
        return str(local_dir)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", one)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", many)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return asked


def test_fetch_from_the_hub(write: Write, machine_says: Says, command: Command, hub: list[Any]) -> None:
    write(weights=WEIGHTS, licence={"code": "MIT", "weights": "NC", "accept": ["nc"]})
    refused = command("baselines", "fetch", "toy")
    assert refused.code == 5
    assert "weights NC" in refused.err.splitlines()[0], "the licence is said first"
    assert "accept: [nc]" in refused.err
    assert hub == []

    machine_says(toy={"accept": ["nc"]})
    done = command("baselines", "fetch", "toy", "--json")
    rows = {row["id"]: row for row in done.json["weights"]}
    assert {name: row["state"] for name, row in rows.items()} == {
        "file": "fetched",
        "folder": "fetched",
        "drive": "manual",
        "more": "optional",
    }
    assert done.code == 5, "one is left to be got by hand"
    assert "get it from the drive; put it at" in rows["drive"]["fix"]
    assert hub == [("owner/name", ["config.json", "*.txt"], "abc"), ("owner/name", "sub/model.pt", None)]
    place = machine.weights_folder("toy")
    assert (place / "sub" / "model.pt").read_text() == "sub/model.pt"
    assert sorted(p.name for p in (place / "all").iterdir()) == ["config.json"]
    assert sorted(p.name for p in place.iterdir()) == ["all", "sub"], "nothing else is left"

    (place / "drive").write_text("x")
    again = command("baselines", "fetch", "toy")
    assert again.code == 0
    assert len(hub) == 2, "what is there is kept"
    assert command("baselines", "fetch", "toy", "more").code == 0
    assert hub[-1][0] == "owner/more"
    assert "did you mean 'more'" in command("baselines", "fetch", "toy", "mre").err


def test_fetch_of_what_is_not_what_it_was(write: Write, machine_says: Says, command: Command, hub: list[Any]) -> None:
    write(weights=[{**WEIGHTS[0], "sha256": "0" * 64}])
    done = command("baselines", "fetch", "toy")
    assert done.code == 2
    assert "sha256" in done.err
    assert not list(machine.weights_folder("toy").rglob("model.pt"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (errors.LocalEntryNotFoundError("no connection"), "it goes on where it was"),
        (ConnectionError("no connection"), "put it at"),
        (OSError(28, "No space left on device"), "No space left"),
    ],
)
def test_fetch_without_a_network(
    error: Exception, words: str, write: Write, machine_says: Says, command: Command, hub: list[Any], monkeypatch: Any
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    write(weights=[WEIGHTS[0]])
    done = command("baselines", "fetch", "toy")
    assert done.code == 5
    assert words in done.err


def test_fetch_offline(write: Write, machine_says: Says, command: Command, hub: list[Any], monkeypatch: Any) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    write(weights=WEIGHTS)
    done = command("baselines", "fetch", "toy")
    assert done.code == 5
    assert "HF_HUB_OFFLINE" in done.err
    place = machine.weights_folder("toy") / "sub" / "model.pt"
    assert f"get sub/model.pt of owner/name (Hugging Face) where there is a network, and put it at {place}" in done.err
    assert "config.json, *.txt of owner/name" in done.err, "all of them at once"
    assert "owner/more" not in done.err
    assert hub == []
    write(weights=[])
    assert command("baselines", "fetch", "toy").code == 2


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a folder that holds `model.bin`."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"weights" * 1000)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{served.server_address[1]}"
    served.shutdown()
    served.server_close()


def test_fetch_from_an_address(write: Write, machine_says: Says, command: Command, server: str) -> None:
    url = f"{server}/model.bin"
    write(weights=[{"id": "plain", "url": url, "dest": "deep/model.bin"}])
    assert command("baselines", "fetch", "toy").code == 0
    place = machine.weights_folder("toy") / "deep"
    assert (place / "model.bin").read_bytes() == b"weights" * 1000
    write(weights=[{"id": "other", "url": url, "dest": "deep/other.bin", "sha256": "0" * 64}])
    done = command("baselines", "fetch", "toy")
    assert done.code == 2
    assert "not what it was" in done.err
    assert [p.name for p in place.iterdir()] == ["model.bin"]
    write(weights=[{"id": "gone", "url": f"{server}/gone"}])
    done = command("baselines", "fetch", "toy")
    assert done.code == 5
    assert "curl" in done.err


@pytest.mark.parametrize("task", scaffold.INPUTS)
def test_new_works_out_of_the_box(task: Task, command: Command, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("METIS_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv(BASELINES, raising=False)
    made = command("baselines", "new", "my-model", "--task", task)
    assert made.code == 0, made.err
    next_three = [line.strip() for line in made.out.splitlines() if line.startswith("  metis-bench")]
    assert next_three[0] == "metis-bench baselines doctor my-model"
    assert next_three[1].startswith(f"metis-bench run suites/{task}.yaml --profile mini --system ")
    assert len(next_three) == 3
    report = ladder.examine("my-model")
    assert report.ready, report.rows
    assert len((tmp_path / "baselines" / "my-model" / "adapter.py").read_text().splitlines()) <= 60


def test_new_takes_no_name_that_is_taken(command: Command, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.delenv(BASELINES, raising=False)
    assert command("baselines", "new", "mine", "--task", "tts", "--task", "vc").code == 0
    for name, words in (("mine", "baseline 'mine'"), ("seed-vc", "baseline 'seed-vc'"), ("espeak", "system 'espeak'")):
        done = command("baselines", "new", name, "--task", "tts")
        assert (done.code, words in done.err) == (2, True), name
    assert command("baselines", "new", "../x", "--task", "tts").code == 2
    elsewhere = command("baselines", "new", "other", "--task", "se", "--folder", "mine", "--json").json
    assert elsewhere["config"] == f"baseline_folders: [{tmp_path / 'mine'}]"
