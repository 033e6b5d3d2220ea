"""Suites: include, extends, profiles, overrides, and errors that say where and what instead."""

from __future__ import annotations

from pathlib import Path

import pytest

from metis_bench.config import load_plugins
from metis_bench.errors import SuiteError
from metis_bench.metrics.base import MetricContext, metrics
from metis_bench.resources import data_dir
from metis_bench.suite.load import load_suite, shipped_suites
from reference_models.registry import FILES
from reference_models.training.ablate import AblationRun, runs_of
from reference_models.training.models import file_name

TOYS = str(Path(__file__).parent.parent / "toys.py")

BASE = """\
name: base
task: se
corpora:
  toy: {corpus: toy}
systems: [toy-noise, toy-moody]
metrics: [toy-level]
profiles:
  mini:
    corpora: {small: {corpus: toy, count: 2}}
  other:
    seeds: [4]
"""


@pytest.fixture(autouse=True)
def toys() -> None:
    load_plugins((TOYS,))


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_mini_is_the_default_profile(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "s.yaml", BASE))
    assert suite.profile == "mini"
    assert [(c.key, c.params.model_dump()["count"]) for c in suite.corpora] == [("small", 2)]
    other = load_suite(tmp_path / "s.yaml", "other")
    assert [c.key for c in other.corpora] == ["toy"]
    assert other.seeds == (4,)


def test_extends_and_include_lie_below(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", BASE)
    write(tmp_path, "_protocols/p.yaml", "protocol:\n  toy-level: {scale: 2.0}\n")
    variant = write(
        tmp_path,
        "variant.yaml",
        "extends: base.yaml\ninclude: [_protocols/p.yaml]\nname: variant\n"
        "systems:\n  - loud: {system: toy-noise, level: 0.5}\nprofiles:\n  mini: {seeds: [9]}\n",
    )
    suite = load_suite(variant)
    assert suite.name == "variant"
    assert [s.name for s in suite.systems] == ["loud"]
    assert suite.metrics[0].params.model_dump()["scale"] == 2.0
    assert suite.seeds == (9,)
    assert [c.key for c in suite.corpora] == ["small"], "profiles of the same name are merged key by key"


def test_what_a_file_says_outranks_the_profiles_of_what_it_extends(tmp_path: Path) -> None:
    """A profile that lists systems must not take away those of whoever extends its suite; his own profiles may."""
    write(tmp_path, "base.yaml", BASE.replace("    seeds: [4]", "    seeds: [4]\n    systems: [toy-moody]"))
    mine = write(tmp_path, "mine.yaml", "extends: base.yaml\nname: mine\nsystems: [toy-noise]\n")
    suite = load_suite(mine, "other")
    assert ([s.name for s in suite.systems], suite.seeds) == (["toy-noise"], (4,))
    mine.write_text(mine.read_text() + "corpora: {own: {corpus: toy}}\nprofiles: {other: {systems: [toy-moody]}}\n")
    assert [c.key for c in load_suite(mine).corpora] == ["own"], "also those of the default profile"
    assert [s.name for s in load_suite(mine, "other").systems] == ["toy-moody"]


def test_a_file_of_ones_own_over_every_shipped_suite(tmp_path: Path) -> None:
    for path in shipped_suites():
        mine = f"extends: suites/{path.relative_to(data_dir('suites'))}\nname: mine\nsystems: [ground-truth]\n"
        suite = load_suite(write(tmp_path, f"{path.stem}.yaml", mine + "oracle_order: []\nablation: {}\n"))
        assert [s.name for s in suite.systems] == ["ground-truth"]


def test_overrides_and_selection(tmp_path: Path) -> None:
    path = write(tmp_path, "s.yaml", BASE)
    suite = load_suite(path, overrides=["seeds=[1, 2]", "corpora.small.count=3"], only_systems=["toy-moody"], limit=1)
    assert suite.seeds == (1, 2)
    assert suite.corpora[0].params.model_dump()["count"] == 3
    assert [s.name for s in suite.systems] == ["toy-moody"]
    assert load_suite(path, only_systems=["noisy", "toy-noise"]).systems[0].type == "noisy", "registered, not listed"


# what is wrong -> (the text to put in place of a line of BASE, expected line, expected words)
WRONG = {
    "unknown key": ("task: se", "task: se\nsystms: [a]", ":3: unknown key 'systms'; did you mean 'systems'?"),
    "unknown task": ("task: se", "task: sing", ":2: task: "),
    "no task": ("task: se\n", "", "task: field required"),
    "unknown corpus": ("{corpus: toy}", "{corpus: toyy}", ":4: unknown corpus 'toyy'; did you mean 'toy'?"),
    "unknown corpus key": (
        "{corpus: toy}",
        "{corpus: toy, cuont: 1}",
        ":4: unknown key 'cuont'; did you mean 'count'?",
    ),
    "bad corpus value": ("{corpus: toy}", "{corpus: toy, count: many}", ":4: count: "),
    "unknown system": ("toy-noise,", "toy-nose,", ":5: unknown system 'toy-nose'; did you mean 'toy-noise'?"),
    "system of another task": ("toy-noise,", "mixture,", ":5: system 'mixture' does not do the task 'se'"),
    "system twice": ("toy-noise,", "toy-moody,", ":5: the system name 'toy-moody' stands twice"),
    "system not a name": ("toy-noise,", "3,", ":5: systems.0"),
    "system with two names": ("toy-noise,", "{a: {}, b: {}},", ":5: an entry of 'systems' is a name"),
    "missing parameter": ("toy-noise,", "toy-gain,", ":5: checkpoint: field required"),
    "unknown metric": ("[toy-level]", "[toy-lvl]", ":6: unknown metric 'toy-lvl'; did you mean 'toy-level'?"),
    "bad metric value": ("[toy-level]", "[{toy-level: {scale: loud}}]", ":6: scale: "),
    "no systems": ("[toy-noise, toy-moody]", "[]", ":5: systems: "),
    "negative seed": ("metrics:", "seeds: [-1]\nmetrics:", ":6: seeds.0: "),
    "seed twice": ("metrics:", "seeds: [1, 1]\nmetrics:", ":6: seeds: the same seed stands twice"),
    "bool seed": ("metrics:", "seeds: [true]\nmetrics:", ":6: seeds.0: "),
    "bad name": ("name: base", "name: ../up", ":1: name: "),
    "bad profile key": ("    seeds: [4]", "    sedes: [4]", ":11: unknown key 'sedes'; did you mean 'seeds'?"),
    "profile not a mapping": ("    seeds: [4]", "    - 4", ":10: a profile must be a mapping"),
    "unknown protocol": ("metrics:", "protocol: {toy-lvel: {}}\nmetrics:", ":6: unknown metric 'toy-lvel'"),
    "oracle order of nobody": (
        "metrics:",
        "oracle_order: [{column: x, better: toy-nois, worse: toy-moody}]\nmetrics:",
        ":6: the suite has no system 'toy-nois'; did you mean 'toy-noise'?",
    ),
    "bad oracle order": ("metrics:", "oracle_order: [{column: x, beter: a, worse: b}]\nmetrics:", ":6: "),
    "list for a mapping": ("  toy: {corpus: toy}", "  - toy", ":3: corpora: "),
    "include not a list": ("task: se", "task: se\ninclude: a.yaml", ":3: 'include' must be a list"),
    "include missing": ("task: se", "task: se\ninclude: [no.yaml]", ":3: no such file: "),
    "extends missing": ("task: se", "task: se\nextends: no.yaml", ":3: no such file: "),
    "scalar params": ("toy-noise,", "{toy-noise: 3},", ":5: systems.0"),
}


@pytest.mark.parametrize("name", sorted(WRONG))
def test_errors_say_where_and_what(tmp_path: Path, name: str) -> None:
    old, new, words = WRONG[name]
    assert old in BASE
    path = write(tmp_path, "s.yaml", BASE.replace(old, new, 1))
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    text = str(caught.value)
    assert words in text, text
    assert text.startswith(str(path)), "the message begins with the file"
    assert len(text.splitlines()) < 20


def test_protocol_errors_point_at_the_protocol_file(tmp_path: Path) -> None:
    write(tmp_path, "p.yaml", "protocol:\n  toy-level:\n    scale: loud\n")
    path = write(tmp_path, "s.yaml", BASE.replace("task: se", "task: se\ninclude: [p.yaml]"))
    with pytest.raises(SuiteError, match=r"p\.yaml:3: scale: "):
        load_suite(path)


def test_cycles_are_named(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", "extends: b.yaml\n" + BASE)
    write(tmp_path, "b.yaml", "include: [c.yaml]\n")
    write(tmp_path, "c.yaml", "include: [a.yaml]\n")
    with pytest.raises(SuiteError, match=r"cycle: a\.yaml -> b\.yaml -> c\.yaml -> a\.yaml"):
        load_suite(tmp_path / "a.yaml")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"profile": "mimi"}, "no profile 'mimi'; did you mean 'mini'?"),
        ({"only_systems": ["toy-nois"]}, "did you mean 'toy-noise'?"),
        ({"only_systems": ["toy-gain"]}, "needs parameters"),
        ({"only_corpora": ["smal"]}, "did you mean 'small'?"),
        ({"overrides": ["sedes=[1]"]}, "--set sedes=[1]: unknown key 'sedes'; did you mean 'seeds'?"),
        ({"overrides": ["corpora.small.count=x"]}, "--set corpora.small.count=x: "),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, object], words: str) -> None:
    path = write(tmp_path, "s.yaml", BASE)
    with pytest.raises(SuiteError) as caught:
        load_suite(path, **arguments)  # type: ignore[arg-type]
    assert words in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"\x00\x01", b"name: [", b"- a\n"])
def test_files_that_are_no_suites(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(content)
    with pytest.raises(SuiteError, match=r"s\.yaml"):
        load_suite(path)


def test_shipped_suites_resolve_in_every_profile() -> None:
    names = [p.stem for p in shipped_suites()]
    assert {"tts", "vc", "tse", "se", "l2s", "omni"} <= set(names)
    for path in shipped_suites():
        if path.parent.name == "suites":
            assert load_suite(path).profile == "mini"
            assert load_suite(f"suites/{path.name}", "paper").name == path.stem
        else:
            assert load_suite(f"suites/{path.parent.name}/{path.name}").name == f"ablation-{path.stem}"


def test_ablations_train_what_they_evaluate() -> None:
    """Every weight file that a suite names is one that its own training writes; equal names are equal runs."""
    known: dict[str, AblationRun] = {}
    trained = 0
    for path in shipped_suites():
        named = [
            str(value)
            for system in load_suite(path).systems
            for key, value in system.params.model_dump().items()
            if key in ("stage1", "adapter", "lora") and value is not None
        ]
        runs = runs_of(path) if named else {}
        for name, run in runs.items():
            assert known.setdefault(name, run) == run
        for file in named:
            folder, name, weights, rest = file.split("/", 3)
            recipe = runs[name].load()
            stem = f"metis_{recipe.model}/metis_{recipe.model}_lora_{recipe.lora.rank if recipe.lora else 0}"
            whole = FILES[file_name(recipe)].file
            written = {f"{stem}.safetensors", f"{stem}_adapter.safetensors"} if recipe.lora else {whole}
            assert (folder, weights) == ("ablation-runs", "weights") and rest in written, file
            trained += 1
    assert trained > 60


def test_an_omni_suite_takes_what_does_any_task(tmp_path: Path) -> None:
    text = BASE.replace("task: se", "task: omni").replace("toy-noise,", "toy-noise, mixture, espeak,")
    path = write(tmp_path, "s.yaml", text.replace("[toy-level]", "[toy-level, sim, pesq]"))
    suite = load_suite(path)
    assert suite.task == "omni"
    assert [s.name for s in suite.systems] == ["toy-noise", "mixture", "espeak", "toy-moody"]
    added = load_suite(path, only_systems=["noisy", "world-vc"])
    assert [s.name for s in added.systems] == ["noisy", "world-vc"], "registered, not listed, of any task"


def test_unknown_suite_lists_the_shipped() -> None:
    with pytest.raises(SuiteError, match=r"did you mean 'suites/se\.yaml'"):
        load_suite("suites/see.yaml")


def test_set_reaches_into_lists_and_errors_name_the_flag() -> None:
    suite = load_suite("se", overrides=["systems.metis-se.steps=3", "systems.metis-se.dtype=bfloat16"])
    (spec,) = [s for s in suite.systems if s.name == "metis-se"]
    assert spec.params.model_dump(include={"steps", "dtype"}) == {"steps": 3, "dtype": "bfloat16"}
    for assignment, message in (
        ("systems.metis-se.stps=3", "unknown key 'stps'; did you mean 'steps'"),
        ("systems.metsi-se.steps=3", "unknown system 'metsi-se'; did you mean 'metis-se'"),
        ("systems.metis-se-lora23.steps=3", "did you mean 'metis-se-lora32'"),
    ):
        with pytest.raises(SuiteError, match=message) as caught:
            load_suite("se", overrides=[assignment])
        assert str(caught.value).startswith(f"--set {assignment}")


GRID = BASE.replace(
    "systems: [toy-noise, toy-moody]",
    'systems:\n  - at-{level}-{name}: {system: toy-noise, level: "{level}", grid: {level: [0.1, 1], name: [a, b]}}',
)


def test_a_grid_of_systems(tmp_path: Path) -> None:
    suite = load_suite(write(tmp_path, "s.yaml", GRID))
    assert [s.name for s in suite.systems] == ["at-0.1-a", "at-0.1-b", "at-1-a", "at-1-b"]
    assert [s.params.model_dump()["level"] for s in suite.systems] == [0.1, 0.1, 1, 1], "not the text '0.1'"
    assert suite.systems[1].factors == {"level": 0.1, "name": "b"}
    grids = suite.to_json()["grids"]
    assert isinstance(grids, dict) and grids["at-1-a"]["grid"] == "at-{level}-{name}"
    assert "grids" not in load_suite(write(tmp_path, "t.yaml", BASE)).to_json(), "keys of runs stay what they were"
    assert [s.name for s in load_suite(tmp_path / "s.yaml", only_systems=["at-1-a"]).systems] == ["at-1-a"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("level: [0.1, 1]", "level: 3", "'level' must be a list"),
        ("level: [0.1, 1]", "level: [1, 1]", "'level' must be a list of different"),
        ("level: [0.1, 1]", "level: []", "'level' must be a list"),
        ("at-{level}-{name}", "at-{level}", "must hold {name}"),
        ("at-{level}-{name}", "at-{level}-{name}-{nam}", "the grid has no 'nam'; did you mean 'name'?"),
        ("name: [a, b]", "name: ['a b', b]", "'at-0.1-a b' is no name"),
        ("grid: {level: [0.1, 1], name: [a, b]}", "grid: {}", "a grid maps keys to lists"),
        ("system: toy-noise", "system: toy-noize", "did you mean 'toy-noise'?"),
    ],
)
def test_wrong_grids(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in GRID
    with pytest.raises(SuiteError) as caught:
        load_suite(write(tmp_path, "s.yaml", GRID.replace(old, new)))
    assert words in str(caught.value)
    assert "s.yaml" in str(caught.value)


PROTOCOLS = sorted(p.stem for p in (data_dir("suites") / "_protocols").glob("*.yaml"))


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_resolves(tmp_path: Path, name: str) -> None:
    """In a user's own suite, in English and Mandarin."""
    (tmp_path / "own.yaml").write_text(
        f"name: own\ntask: tts\ninclude: [suites/_protocols/{name}.yaml]\n"
        "corpora: {mini: {task: tts}}\nsystems: [ground-truth]\nmetrics: [wer, sim]\n"
    )
    suite = load_suite(tmp_path / "own.yaml")
    for language in ("en", "zh"):
        context = MetricContext("tts", language, ("one",))
        for spec in suite.metrics:
            assert metrics.get(spec.type)(spec.params, context).columns


def test_a_protocol_says_which_recogniser_reads_which_language(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\ntask: tts\ninclude: [suites/_protocols/f5.yaml]\n"
        "corpora: {mini: {task: tts}}\nsystems: [ground-truth]\nmetrics: [wer]\n"
    )
    (spec,) = load_suite(tmp_path / "own.yaml").metrics
    ids = [metrics.get("wer")(spec.params, MetricContext("tts", lang, ())).columns[0].id for lang in ("en", "zh")]
    assert ids == ["wer.faster-whisper-large-v3.f5", "wer.paraformer-zh.f5"]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_can_be_laid_over_a_shipped_suite(tmp_path: Path, name: str) -> None:
    """What becomes equal is measured once."""
    (tmp_path / "own.yaml").write_text(f"include: [suites/tts.yaml, suites/_protocols/{name}.yaml]\nname: own\n")
    for profile in ("mini", "paper"):
        suite = load_suite(tmp_path / "own.yaml", profile)
        built = [metrics.get(s.type)(s.params, MetricContext("tts", "en", ("one",))) for s in suite.metrics]
        ids = [column.id for metric in built for column in metric.columns]
        assert len(set(ids)) == len(ids)
        kinds = {name for metric in built for column in metric.columns for name in (column.id, column.family)}
        assert {order.column for order in suite.oracle_order} <= kinds
