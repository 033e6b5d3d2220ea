"""system.yaml: strict, told by file and line; and every baseline that ships keeps the rules."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from metis_bench import published
from metis_bench.baselines.manifest import ADAPTER, MANIFEST, find, find_all, read
from metis_bench.errors import SuiteError
from metis_bench.resources import data_dir
from tests.baselines.conftest import Write

SHIPPED = sorted(path.parent for path in data_dir("baselines").glob(f"*/{MANIFEST}"))
OURS = {"metis_bench", "reference_models"}
GOOD = """\
schema: 1
name: toy
title: A toy
tasks: [tts]
status: manual
upstream: {url: https://example.org}
licence: {code: MIT, weights: none}
"""


@pytest.mark.parametrize(
    ("line", "number", "says"),
    [
        ("titel: x", 8, "did you mean 'title'"),
        ("tasks: [ttss]", 4, "tasks.0"),
        ("status: running", 5, "status"),
        ("licence: {code: MIT}", 7, "licence.weights"),
        ("env: {pyton: '3'}", 8, "did you mean 'python'"),
        ("env: {python: three}", 8, "no version range"),
        ("io: {rate: 100}", 8, "io.rate"),
        ("weights: [{id: a}]", 8, "exactly one of hf, url and manual"),
        ("weights: [{id: a, url: u, dest: ../../x}]", 8, "leaves the folder"),
        ("weights: [{id: a, hf: b}, {id: a, hf: c}]", 8, "same id"),
        ("upstream: {url: u, commit: main}", 6, "upstream.commit"),
        ("presets: {}", 8, "presets"),
        ("schema: 2", 1, "schema"),
        ("name: other", 2, "must be the folder's"),
        ("status: runnable", 5, "needs an adapter.py"),
        ("batch: 0", 8, "batch"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, line: str, number: int, says: str) -> None:
    key = line.partition(":")[0] + ":"
    lines = [line if old.startswith(key) else old for old in GOOD.splitlines()]
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / MANIFEST).write_text("\n".join(lines if line in lines else [*lines, line]) + "\n", encoding="utf-8")
    with pytest.raises(SuiteError) as error:
        read(folder)
    assert says in str(error.value), error.value
    if "adapter.py" not in says and "same id" not in says:
        assert f"{MANIFEST}:{number}:" in str(error.value), error.value


def test_a_slip_is_told_before_the_key_that_it_leaves_out(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / MANIFEST).write_text(GOOD.replace("tasks:", "taks:"), encoding="utf-8")
    with pytest.raises(SuiteError, match="did you mean 'tasks'"):
        read(folder)


def test_the_users_own_come_first(tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write("seed-vc").folder
    assert find("seed-vc", [own.parent]).folder == own
    monkeypatch.chdir(tmp_path)
    assert find("seed-vc").folder == data_dir("baselines") / "seed-vc"
    (tmp_path / "baselines").mkdir()
    own.rename(tmp_path / "baselines" / "seed-vc")
    assert find_all()["seed-vc"] == tmp_path / "baselines" / "seed-vc"
    with pytest.raises(SuiteError, match="did you mean 'seed-vc'"):
        find("seed-cv")


def test_rows_of_the_paper_are_rows_of_the_paper() -> None:
    paper = published.load(published.find("metis-paper"))
    printed = {(paper.source.datasets[value.dataset].task, value.system) for value in paper.values}
    for folder in SHIPPED:
        manifest = read(folder).manifest
        for row in manifest.paper:
            assert any((task, row.system) in printed for task in manifest.tasks), (folder.name, row.system)


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_what_ships_keeps_the_rules(folder: Path) -> None:
    baseline = read(folder)
    manifest, adapter = baseline.manifest, folder / ADAPTER
    assert manifest.upstream.commit or manifest.upstream.package or manifest.status != "runnable", "pin it"
    assert manifest.io.rate is not None or manifest.status != "runnable", "the host cannot check what it is not told"
    assert adapter.exists() == (manifest.status == "runnable")
    if not adapter.exists():
        return
    source = adapter.read_text(encoding="utf-8")
    tree = ast.parse(source, feature_version=(3, 8))
    assert len(source.splitlines()) <= 60, "an adapter is at most 60 lines"
    assert ast.get_docstring(tree), "say which file of which commit it calls"
    imported = {
        (name if isinstance(node, ast.Import) else node.module or "").partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [alias.name for alias in node.names]
    }
    assert not imported & OURS, "it runs where we are not installed"
    used = set(manifest.presets[next(iter(manifest.presets))])
    assert all(set(preset) == used for preset in manifest.presets.values()), "every preset has every option"
