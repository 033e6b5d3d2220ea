"""Every shipped suite's mini profile, end to end and offline; and that it works from an installed wheel."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Set
from pathlib import Path

import pytest

from metis_bench.resources import data_dir
from metis_bench.suite.load import find_suite, load_document, load_suite, shipped_suites
from metis_bench.suite.schema import Suite, SystemSpec
from metis_bench.systems.base import systems
from reference_models.hub import SHIPPED
from tests.e2e.conftest import Command

REPO = Path(__file__).resolve().parents[2]
PROFILES = {
    f"suites/{p.relative_to(data_dir('suites')).as_posix()}": load_document(p).data.get("profiles") or {}
    for p in shipped_suites()
}
MINI = [name for name, profiles in PROFILES.items() if "mini" in profiles]
PACKAGES = ("pocketsphinx", "espeakng_loader", "noisereduce", "pyrnnoise", "pyworld", "inflect", "av", "cv2")
FEW, ONE = "2", "1"  # items of each set: of 8 words; ablations have many systems of one kind
WORDS_LOST = 90.0  # % WER that no trained model reaches, and all with untrained weights do
WHEEL = 40_000_000  # bytes
FAMILY = "reference_models/mini/weights"
# under official names, as all weights are, and opened with weights_only=True
PICKLED = {f"{FAMILY}/models/tts/maskgct/ckpt/wav2vec2bert_stats.pt", f"{FAMILY}/metis_l2s/vis_model.pth"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One store for all: the omni suite makes most of what the others need."""
    return tmp_path_factory.mktemp("home")


def reference(system: SystemSpec) -> bool:
    return systems.get(system.type).kind == "reference"


def measuring(suite: Suite, types: Set[str]) -> tuple[str, str]:
    """The option that leaves a suite with its metrics of these types."""
    kept = [{m.type: m.params.model_dump(mode="json")} for m in suite.metrics if m.type in types]
    return "--set", f"metrics={json.dumps(kept)}"


@pytest.mark.long
@pytest.mark.parametrize("suite", [n for n in MINI if "ablations/" not in n])
def test_the_orders_hold_in_the_mini_profile(metis_bench: Command, suite: str, home: Path) -> None:
    """On all its items, with the systems and metrics that the orders are about: bounds, oracles, classical systems."""
    for package in PACKAGES:
        pytest.importorskip(package)
    loaded = load_suite(suite)
    metrics = measuring(loaded, {order.column.split(".")[0] for order in loaded.oracle_order})
    names = ",".join(sorted({name for order in loaded.oracle_order for name in (order.better, order.worse)}))
    assert not any(reference(s) for s in loaded.systems if s.name in names.split(",")), "what they say is not ordered"
    few = ("--system", names, *metrics, "--set", "stats.resamples=500")
    done = metis_bench("run", suite, *few, "--json", home=home)
    assert done.code == 0, done.err
    results = done.json["results"]
    checks = results["oracle_checks"]
    assert {(c["column"], c["better"], c["worse"]) for c in checks if c["ok"]} == {
        (c["column"], c["better"], c["worse"]) for c in checks
    }, "every order could be checked somewhere"
    assert {(c["better"], c["worse"]) for c in checks} == {(o.better, o.worse) for o in loaded.oracle_order}
    assert not [c for c in checks if c["ok"] is False]
    assert all(c["n"] == c["N"] for c in results["cells"] if c["system"] != "silence"), (
        "in which some metrics find nothing"
    )


@pytest.mark.long
@pytest.mark.parametrize("suite", MINI)
def test_a_mini_profile(metis_bench: Command, suite: str, home: Path, tmp_path: Path) -> None:
    """Everybody, on the first items: someone is ranked in every table, and the mini family says what it is asked to.

    DNSMOS, which takes as long as all other metrics together, is measured in one suite.
    """
    for package in PACKAGES:
        pytest.importorskip(package)
    loaded = load_suite(suite)
    types = {m.type for m in loaded.metrics} - (set() if suite == "suites/se.yaml" else {"dnsmos"})
    items = ONE if "ablations/" in suite else FEW
    names = [s.name for s in loaded.systems]
    if "ablations/" in suite:  # of many arms of one kind the first and the last
        arms = [s.name for s in loaded.systems if s.grid]
        names = [n for n in names if n not in arms or n in (arms[0], arms[-1])]
    few = ("--system", ",".join(names), "--limit", items, *measuring(loaded, types))
    quick = ("--set", "oracle_order=[]", "--set", "stats.resamples=500")  # orders are of all items
    done = metis_bench("run", suite, *few, *quick, "--json", home=home)
    assert done.code == 0, done.err
    results = done.json["results"]
    assert [s["name"] for s in results["systems"]] == names
    ranked = {s["name"] for s in results["systems"] if s["ranked"]}
    for test_set in {s["id"] for s in results["sets"]}:
        cells = [c for c in results["cells"] if c["system"] in ranked and c["set"] == test_set]
        assert any(c["status"] == "complete" and c["rank"] == 1 for c in cells), "someone is ranked in every table"
        assert all(c["n"] == c["N"] for c in cells)
    heard = [c for c in results["cells"] if c["column"] == "wer.mini" and c["status"] == "complete"]
    assert "ground-truth" in {c["system"] for c in heard}
    assert [c for c in heard if c["system"].startswith("metis-mini-") and c["value"] > WORDS_LOST] == []
    if "ablations/" in suite:
        compared = metis_bench("ablation", "latest", "--out", "ablation", "--json")
        assert compared.code == 0, compared.err
        name = loaded.name
        assert {p.name for p in (tmp_path / "ablation").iterdir()} >= {f"{name}.html", f"{name}.md", f"{name}.json"}


def test_no_suite_has_the_mini_family_speak_after_a_prompt_in_stage_1() -> None:
    """So small a model says next to nothing rightly then (WER over 80 %), and a table of it would be of that alone."""
    asked = []
    for name in PROFILES:
        suite = load_suite(name)
        speaking = [s for s in suite.systems if s.type in ("metis-tts", "metis-omni") and s.params.checkpoint == "mini"]
        asked += speaking if any("tts" in c.key for c in suite.corpora) else []
    assert len(asked) > 50, "the shipped ablations have that many arms"
    assert not [s.name for s in asked if s.params.stage1_prompt]


def test_lip_to_speech_says_what_it_needs(metis_bench: Command) -> None:
    """Without videos it ends before anything runs, and names what is missing and where to put it."""
    done = metis_bench("run", "suites/l2s.yaml", "--profile", "paper")
    assert done.code == 5
    for name in ("lrs2", "lrs3"):
        assert f"the corpus '{name}' is not on this machine" in done.err
        assert f"corpora: {{{name}: /path/to/it}}" in done.err
        assert f"lip_reading/{name}.html" in done.err


def test_the_demo_runs_every_mini_profile_and_names_the_others() -> None:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    done = subprocess.run(["make", "-n", "demo"], cwd=REPO, capture_output=True, text=True, check=True)
    run, told = (line for line in done.stdout.splitlines() if line.startswith("for suite in"))
    have = {name: "mini" in profiles for name, profiles in PROFILES.items() if "ablations/" not in name}
    assert {n for n in have if f"{n} " in run or f"{n};" in run} == {n for n in have if have[n]}
    assert {n for n in have if n in told} == {n for n in have if not have[n]} == set()
    lines = [line for line in done.stdout.splitlines() if "ablation" in line]
    (ablated,) = {n for n in PROFILES if any(f"metis-bench run {n}" in line for line in lines)}
    assert ablated in MINI and "training" not in load_document(find_suite(ablated)).data, "nothing is to be trained"
    assert any("metis-bench ablation latest --out runs/ablation" in line for line in lines)


@pytest.mark.long
def test_the_wheel_holds_suites_and_runs_outside_the_checkout(tmp_path: Path) -> None:
    """Built, unpacked and run from elsewhere: the installed tree must find its own suites, templates and types."""
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist"), str(REPO)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "metis_bench/_data/suites/se.yaml" in names
    assert "metis_bench/py.typed" in names
    assert {n for n in names if n.endswith((".wav", ".onnx", ".pt", ".pth")) or "/tests/" in n} == PICKLED
    shipped = {f"{FAMILY}/{p.relative_to(SHIPPED).as_posix()}" for p in SHIPPED.rglob("*") if p.is_file()}
    assert {n for n in names if n.startswith(FAMILY)} == shipped > PICKLED
    weights = {Path(n) for n in shipped if n.endswith(".safetensors")} | set(map(Path, PICKLED))
    assert {p.with_suffix(".card.md").as_posix() for p in weights} == {n for n in shipped if n.endswith(".card.md")}
    assert wheel.stat().st_size <= WHEEL
    (tmp_path / "metis-bench.yaml").write_text(f"plugins: ['{REPO / 'tests' / 'toys.py'}']\n")
    (tmp_path / "mine.yaml").write_text(
        "extends: suites/se.yaml\nname: mine\ncorpora: {toy: {corpus: toy}}\nsystems: [toy-noise]\nmetrics: [rtf]\n"
        "oracle_order: []\nprofiles: {mini: {corpora: {toy: {corpus: toy, count: 2}}}}\n"
    )
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "METIS_BENCH_HOME": str(tmp_path / "home")}
    where = subprocess.run(
        [sys.executable, "-c", "import metis_bench; print(metis_bench.__file__)"],
        capture_output=True, text=True, check=True, cwd=tmp_path, env=env,
    )  # fmt: skip
    assert str(tmp_path / "site") in where.stdout, "the unpacked wheel is what runs"
    command = [sys.executable, "-m", "metis_bench.cli", "run", "mine.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "runs").glob("mine-mini-*/report/index.html"))
