"""`metis-bench baselines list|show|doctor`: what there is, what is missing here, and what mends it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from metis_bench import doctor
from metis_bench.audio import GIT_LFS, Audio
from metis_bench.baselines import ladder, machine, overview, scaffold, smoke
from metis_bench.baselines.environment import requirements, unmet
from metis_bench.baselines.inspection import damage
from metis_bench.baselines.manifest import WeightFile
from metis_bench.errors import SuiteError
from metis_bench.hashing import sha256_bytes
from metis_bench.systems.base import Request
from tests.baselines.conftest import Command, Write

Says = Callable[..., None]
RUNGS = ["manifest", *(rung.name for rung in ladder.LADDERS["runnable"])]
COPY = scaffold.ADAPTER_PY.format(name="toy", copied="prompt", inputs="")
FAILING = """
def load(ctx):
    return Failing()

class Failing:
    def run(self, item):
        raise OSError("hm")
"""
PRESETS = {"recommended": {"gain": 1.0}}


def by_step(report: ladder.Report) -> dict[str, Any]:
    return {row.step: row for row in report.rows}


def test_a_machine_without_anything_shows_the_whole_ladder(
    write: Write, machine_says: Says, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    write(
        upstream={"url": "https://example.org/toy", "commit": "0123abc", "clone": True, "submodules": ["third/part"]},
        licence={"code": "MIT", "weights": "NC", "accept": ["cc-by-nc-4.0"]},
        env={"requires": ["no-such-package==1.0"], "system": ["no-such-tool"]},
        weights=[{"id": "hub", "hf": "owner/name"}, {"id": "drive", "manual": "get it from the drive"}],
        device={"gpu": "required"},
    )
    done = command("baselines", "doctor", "toy", "--json")
    rows = done.json["ladder"]
    assert done.code == 5
    assert list(dict.fromkeys(row["step"] for row in rows)) == RUNGS
    found = [(row["step"], row["status"]) for row in rows]
    assert found == [
        ("manifest", "ok"),
        ("licence", "missing"),
        ("interpreter", "missing"),
        ("packages", "skipped"),
        ("checkout", "missing"),
        ("weights", "missing"),
        ("weights", "missing"),
        ("tools", "missing"),
        ("gpu", "missing"),
        ("worker", "skipped"),
        ("load", "skipped"),
        ("smoke", "skipped"),
    ]
    fixes = {row["step"] + row["detail"][:7]: row["fix"] for row in rows if row["status"] == "missing"}
    assert all(fixes.values())
    told = " ".join(fixes.values())
    for mends in (
        "accept: [cc-by-nc-4.0]",
        "metis-bench baselines env toy",
        "git clone https://example.org/toy",
        "submodule update --init --recursive third/part",
        "metis-bench baselines fetch toy",
        "get it from the drive; put it at",
        "install no-such-tool",
    ):
        assert mends in told, mends
    text = command("baselines", "doctor", "toy")
    assert text.code == 5
    assert text.out.count("fix: ") == 7
    assert text.out.endswith("not ready: 7 missing\n")


def test_what_copies_its_prompt_is_ready(write: Write, machine_says: Says, command: Command) -> None:
    write(adapter=COPY, presets=PRESETS)
    done = command("baselines", "doctor", "toy")
    assert done.code == 0, done.out
    assert done.out.endswith("ready\n")
    assert "making one item (tts)" in done.err
    looked = command("baselines", "doctor", "toy", "--no-smoke", "--json").json
    assert looked["ready"]
    assert [row["status"] for row in looked["ladder"]][-3:] == ["ok", "skipped", "skipped"]


@pytest.mark.parametrize(
    ("adapter", "step", "words"),
    [
        (None, "smoke", "hardly moves"),
        ("import nothing_of_that_name\n", "load", "nothing_of_that_name"),
        (FAILING, "smoke", "OSError: hm"),
    ],
)
def test_what_cannot_make_speech(adapter: str | None, step: str, words: str, write: Write, machine_says: Says) -> None:
    write(adapter=adapter) if adapter else write()
    report = ladder.examine("toy")
    row = by_step(report)[step]
    assert (row.status, report.exit_code) == ("missing", 5)
    assert words in row.detail
    assert "baselines show toy" in row.fix
    assert by_step(report)["worker"].status == "ok"


def test_packages_are_found_by_metadata_and_never_imported(write: Write, machine_says: Says, tmp_path: Path) -> None:
    site = tmp_path / "site"
    for name, version in (("trap", "1.2"), ("other", "3.0")):
        (site / f"{name}-{version}.dist-info").mkdir(parents=True)
        meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        (site / f"{name}-{version}.dist-info" / "METADATA").write_text(meta)
        (site / f"{name}.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\n")
    machine_says(toy={"launcher": ["env", f"PYTHONPATH={site}", sys.executable]})
    wanted = ["trap>=1", "other==2.0", "absent", "trap>9; python_version < '3'"]
    write(adapter=COPY, presets=PRESETS, env={"requires": wanted})
    report = ladder.examine("toy", smoke=False)
    missing, warned = [row for row in report.rows if row.step == "packages"]
    assert missing.status == "missing"
    assert missing.detail == "absent (not installed)"
    assert missing.fix.endswith("-m pip install absent")
    assert warned.status == "warning"
    assert "other==2.0 (3.0)" in warned.detail
    assert by_step(report)["load"].detail == "needs the packages"
    assert not (tmp_path / "sprung").exists()


def test_requirements_are_compared_as_versions(write: Write) -> None:
    manifest = write(
        upstream={"url": "x", "package": "Coqui_TTS==0.27.2"},
        env={"requires": ["coqui-tts[languages]==0.27.2", "torch==2.0.1", "git+https://example.org/x"]},
    ).manifest
    assert requirements(manifest) == manifest.env.requires, "the package is named already"
    versions = {"python": "3.10.4", "coqui-tts": "0.27.2", "torch": "2.0.1+cu118"}
    assert unmet(requirements(manifest), versions) == []
    (other,) = unmet(["torch<2"], versions)
    assert (other.found, other.pinned) == ("2.0.1+cu118", False)
    assert unmet(["old; python_version<'3.9'"], versions) == []
    alone = write("other", upstream={"url": "x", "package": "f5-tts==1.1"}, env={"requires": ["numpy"]}).manifest
    assert requirements(alone) == ["f5-tts==1.1", "numpy"]


def test_an_interpreter_of_another_version_or_none(write: Write, machine_says: Says) -> None:
    machine_says(toy={"python": sys.executable})
    write(env={"python": "<3.9"})
    row = by_step(ladder.examine("toy", smoke=False))["interpreter"]
    assert row.status == "missing"
    assert "it needs <3.9" in row.detail
    assert "metis-bench baselines env toy" in row.fix
    machine_says(toy={"launcher": ["sh", "-c", "echo broken >&2; exit 3"]})
    row = by_step(ladder.examine("toy", smoke=False))["interpreter"]
    assert row.status == "missing"
    assert "exit code 3, broken" in row.detail


def git(*arguments: str, cwd: Path) -> str:
    author = {"GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org"}
    committer = {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org", "GIT_CONFIG_GLOBAL": os.devnull}
    env = {**os.environ, **author, **committer}
    done = subprocess.run(["git", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def upstream(tmp_path: Path) -> tuple[Path, str, str]:
    """A repository with two commits."""
    repo = tmp_path / "upstream"
    repo.mkdir()
    git("init", "-q", cwd=repo)
    commits = []
    for text in ("one", "two"):
        (repo / "model.py").write_text(text)
        git("add", "-A", cwd=repo)
        git("commit", "-q", "-m", text, cwd=repo)
        commits.append(git("rev-parse", "HEAD", cwd=repo))
    return repo, commits[0], commits[1]


def test_the_checkout_is_compared_with_the_manifest(
    write: Write, machine_says: Says, upstream: tuple[Path, str, str]
) -> None:
    repo, first, second = upstream
    machine_says(toy={"repo": str(repo)})

    def row(**said: Any) -> Any:
        write(upstream={"url": str(repo), "clone": True, **said})
        return by_step(ladder.examine("toy", smoke=False))["checkout"]

    assert row(commit=second).status == "ok"
    other = row(commit=first[:8])
    assert (other.status, other.fix) == ("warning", f"git -C {repo} checkout {first[:8]}")
    (repo / "model.py").write_text("changed")
    dirty = row(commit=second)
    assert dirty.status == "warning"
    assert "1 files are changed" in dirty.detail
    assert row(submodules=["third"]).status == "warning"
    report = ladder.examine("toy", smoke=False)
    lacking = next(r for r in report.rows if r.step == "checkout")
    assert lacking.status == "missing"
    assert lacking.fix.endswith("submodule update --init --recursive third")


def test_weights_that_are_there_but_wrong(tmp_path: Path) -> None:
    path = tmp_path / "w"
    path.write_bytes(b"x" * 1000)
    assert damage(WeightFile(id="w", manual="-", megabytes=0.001), path) is None
    assert "0.0 MB, expected 2" in str(damage(WeightFile(id="w", manual="-", megabytes=2), path))
    assert damage(WeightFile(id="w", manual="-", sha256=sha256_bytes(b"x" * 1000)), path) is None
    assert "sha256" in str(damage(WeightFile(id="w", manual="-", sha256="0" * 64), path))
    path.write_bytes(b"")
    assert damage(WeightFile(id="w", manual="-"), path) == "empty"
    path.write_bytes(GIT_LFS + b"/spec/v1")
    assert "git-lfs pointer" in str(damage(WeightFile(id="w", manual="-"), path))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    wanted = WeightFile(id="w", hf="a/b", files=["config.json", "model.pt", "*.txt"])
    assert damage(wanted, folder) == "without model.pt"


def test_short_ladders_and_a_wrong_manifest(write: Write, machine_says: Says, command: Command) -> None:
    write("brought", adapter=None, status="manual")
    write("printed", adapter=None, status="published")
    done = command("baselines", "doctor", "brought", "--json")
    assert done.code == 5
    assert [row["step"] for row in done.json["ladder"]] == ["manifest", "outputs"]
    assert "metis-bench baselines import brought DIR" in done.json["ladder"][1]["fix"]
    done = command("baselines", "doctor", "printed")
    assert done.code == 0
    assert "only published numbers" in done.out
    file = write("wrong").folder / "system.yaml"
    file.write_text(file.read_text() + "ntes: []\n")
    done = command("baselines", "doctor", "wrong")
    assert done.code == 2
    assert "did you mean 'notes'" in done.out
    assert done.out.count("skipped") == len(RUNGS) - 1
    done = command("baselines", "doctor", "brougt")
    assert done.code == 2
    assert "did you mean 'brought'" in done.err


def test_list(write: Write, machine_says: Says, command: Command) -> None:
    write("able", adapter=COPY)
    write("far", env={"requires": ["torch"]}, tasks=["vc"])
    write("brought", adapter=None, status="manual")
    write("printed", adapter=None, status="published")
    file = write("wrong").folder / "system.yaml"
    file.write_text("schema: 1\n")
    rows = {row["name"]: row for row in command("baselines", "list", "--json").json}
    assert rows["able"]["state"] == "ready"
    assert rows["far"]["state"] == "needs interpreter"
    assert "baselines env far" in rows["far"]["fix"]
    assert rows["brought"]["state"] == "needs outputs"
    assert rows["printed"]["state"] == "published numbers only"
    assert rows["wrong"]["state"] == "broken"
    assert "seed-vc" in rows, "those that ship are there too"
    of_vc = [row["name"] for row in command("baselines", "list", "--task", "vc", "--json").json]
    assert "far" in of_vc
    assert "able" not in of_vc
    assert "needs interpreter" in command("baselines", "list").out
    assert command("baselines", "list", "--task", "sing").code == 2


def test_show(write: Write, machine_says: Says, command: Command) -> None:
    write(
        upstream={"url": "https://example.org/toy", "commit": "0123abc", "clone": True},
        licence={"code": "MIT", "weights": "NC", "accept": ["nc"]},
        weights=[{"id": "model", "hf": "owner/name", "file": "model.pt"}],
        paper=[{"system": "Toy", "match": "different-training", "note": "more hours"}],
        notes=["it hums"],
        env={"requires": ["torch"], "steps": ["make the rest"]},
        device={"gpu": "recommended"},
    )
    text = command("baselines", "show", "toy").out
    for part in ("at 0123abc", "weights NC", "not comparable; more hours", "it hums", "make the rest", "git clone"):
        assert part in text, part
    assert "MISSING  weights 'model'" in text
    facts = command("baselines", "show", "toy", "--json").json
    assert [place["there"] for place in facts["places"]] == [False, False, False]
    entry = yaml.safe_load(facts["yaml"])["baselines"]["toy"]
    assert entry["accept"] == ["nc"]
    assert machine.Here.model_validate(entry)
    assert command("baselines", "show", "nothing").code == 2
    write("brought", adapter=None, status="manual", weights=[{"id": "model", "hf": "owner/name", "file": "model.pt"}])
    text = command("baselines", "show", "brought").out
    assert "model: owner/name model.pt" in text
    assert "baselines import brought DIR" in text


def test_the_machines_doctor_counts_them(write: Write, machine_says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    write("able")
    write("far", env={"requires": ["torch"]})
    write("printed", adapter=None, status="published")
    known = {name: overview.find_all(machine.own_folders())[name] for name in ("able", "far", "printed")}
    monkeypatch.setattr(overview, "find_all", lambda _: known)
    row = doctor._baselines()
    assert (row["status"], row["detail"]) == ("optional", "2 runnable, 1 ready")
    assert "baselines doctor NAME" in row["fix"]


def plausible(task: str, samples: np.ndarray, write: Write, source_s: float | None = None) -> str | None:
    source = None if source_s is None else Audio(np.ones(int(source_s * 16000), np.float32), 16000)
    request = Request(id="smoke", task=task, language="en", seed=0, source=source)  # type: ignore[arg-type]
    return smoke.implausible(Audio(samples.astype(np.float32), 16000), request, write().manifest)


def test_what_passes_for_speech(write: Write, rng: np.random.Generator, tmp_path: Path) -> None:
    spoken = smoke.item("vc", tmp_path).prompt
    assert spoken is not None
    speech = spoken.resampled(16000).samples
    seconds = len(speech) / 16000
    assert plausible("tts", speech, write) is None
    assert plausible("vc", speech, write, seconds * 1.5) is None
    assert "long" in str(plausible("vc", speech, write, seconds * 2.5))
    assert "long" in str(plausible("se", speech, write, seconds + 1))
    assert "long" in str(plausible("tts", speech[:1000], write))
    assert "silent" in str(plausible("tts", speech * 1e-4, write))
    assert "silent" in str(plausible("tts", np.full(16000, 0.5), write)), "a constant is no sound"
    assert "clipped" in str(plausible("tts", np.clip(speech * 100, -1, 1), write))
    assert "hardly moves" in str(plausible("tts", 0.1 * rng.standard_normal(32000), write))


def test_an_unknown_baseline_has_a_next_command(machine_says: Says) -> None:
    with pytest.raises(SuiteError) as caught:
        ladder.examine("nothing")
    assert caught.value.fix == "metis-bench baselines list"
