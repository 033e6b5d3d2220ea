"""The machine's config: where it is looked for, what is refused, and plug-ins."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from metis_bench import doctor
from metis_bench.config import BASELINES, Config, load_config, load_plugins
from metis_bench.errors import MissingPrerequisite, SuiteError, UsageError
from metis_bench.systems.base import fingerprint, systems


@pytest.fixture(autouse=True)
def empty_house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("METIS_BENCH_CONFIG", raising=False)


def test_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_config().file is None
    user = tmp_path / "config" / "metis-bench" / "metis-bench.yaml"
    user.parent.mkdir(parents=True)
    user.write_text("workers: 3\n")
    assert load_config().workers == 3
    Path("metis-bench.yaml").write_text("workers: 4\nstore: s\n")
    assert load_config().workers == 4
    assert load_config().store == tmp_path / "s", "relative to the file"
    Path("env.yaml").write_text("workers: 5\n")
    monkeypatch.setenv("METIS_BENCH_CONFIG", "env.yaml")
    assert load_config().workers == 5
    assert load_config("metis-bench.yaml", workers=6).workers == 6, "a flag wins"


def test_stores_and_executors(tmp_path: Path) -> None:
    assert load_config().executor == "local"
    Path("metis-bench.yaml").write_text("store: s3://bucket/metis/\nexecutor: ray:head:6379\n")
    config = load_config()
    assert (config.store, config.executor) == ("s3://bucket/metis", "ray:head:6379")
    flags = load_config(store="gs://other", executor="local")
    assert (flags.store, flags.executor) == ("gs://other", "local"), "flags win"
    assert load_config(store="here").store == tmp_path / "here", "relative to where the command is given"
    with pytest.raises(UsageError, match=r"unknown executor 'rya'; did you mean 'ray'\?"):
        load_config(executor="rya")


@pytest.mark.parametrize("name", ["ray:", "ray://", "ray:head", "ray:http://head:1", "ray://head:port", "local:2"])
def test_executors_without_an_address(name: str) -> None:
    with pytest.raises(UsageError, match="unknown executor"):
        load_config(executor=name)


@pytest.mark.parametrize("name", ["file://", "://x", "memory:x", "s3:/bucket/metis"])
def test_what_is_no_store_makes_no_folder_of_that_name(name: str) -> None:
    with pytest.raises(UsageError, match="neither a folder nor a URL"):
        load_config(store=name)
    Path("metis-bench.yaml").write_text(f"store: '{name}'\n")
    with pytest.raises(UsageError, match="neither a folder nor a URL"):
        load_config()


@pytest.mark.parametrize("name", ["cuda:0", "-1", "null", "a"])
def test_devices_are_gpus(name: str) -> None:
    Path("metis-bench.yaml").write_text(f"devices: [0, {name}]\n")
    with pytest.raises(SuiteError, match=r"metis-bench\.yaml:1.*is no GPU"):
        load_config()
    Path("metis-bench.yaml").write_text("devices: [0, GPU-5a, '1']\n")
    assert load_config().gpus() == ("0", "GPU-5a", "1")


def test_doctor_knows_which_gpus_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "listed_gpus", lambda: ("0",))
    row = doctor._gpus(Config(devices=("0", "3")))
    assert row["status"] == "missing" and "devices names 3" in row["detail"]
    assert doctor._gpus(Config(devices=("0", "0")))["status"] == "ok"


def test_corpus_roots(tmp_path: Path) -> None:
    (tmp_path / "speech" / "dns2020").mkdir(parents=True)
    Path("metis-bench.yaml").write_text("corpora: {root: speech, seedtts: elsewhere}\n")
    config = load_config()
    assert config.corpus_root("dns2020", "dns2020", "") == tmp_path / "speech" / "dns2020"
    assert config.corpus_root("seedtts", "seedtts", "") == tmp_path / "elsewhere"
    assert config.corpus_root("mini", None, "") is None
    with pytest.raises(MissingPrerequisite, match="lrs3") as caught:
        config.corpus_root("lrs3", "lrs3", "sign the agreement")
    assert "sign the agreement" in str(caught.value)
    assert "metis-bench.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wokers: 2\n", "metis-bench.yaml:1: unknown key 'wokers'; did you mean 'workers'"),
        ("workers: 0\n", ":1: workers must be a positive whole number"),
        ("workers: true\n", ":1: workers must be"),
        ("store: [a]\n", ":1: store must be a folder"),
        ("executor: slurm\n", ":1: unknown executor 'slurm'"),
        ("corpora: here\n", ":1: corpora must map"),
        ("plugins: mine.py\n", ":1: plugins must be a list"),
    ],
)
def test_mistakes_have_a_line(text: str, words: str) -> None:
    Path("metis-bench.yaml").write_text(text)
    with pytest.raises(SuiteError) as caught:
        load_config()
    assert words in str(caught.value)


def test_a_plugin_that_does_not_import_says_so_and_can_be_mended() -> None:
    path = Path("broken.py")
    path.write_text("def oops(:\n")
    for _ in range(2):
        with pytest.raises(SuiteError, match=r"broken\.py: the plug-in does not import: SyntaxError"):
            load_plugins((str(path),))
    path.write_text("")
    load_plugins((str(path),))
    with pytest.raises(MissingPrerequisite, match="not found"):
        load_plugins(("absent.py",))
    with pytest.raises(SuiteError, match="does not import"):
        load_plugins(("no_such_module_anywhere",))


SYSTEM = """
from metis_bench.audio import Audio
from metis_bench.systems.base import System, systems
from {net} import GAIN

@systems.register("{name}")
class {cls}(System):
    "A test."
    kind = "neural"
    tasks = frozenset({{"se"}})
    needs = frozenset({{"source"}})

    def generate(self, request):
        return request.source
"""


def test_two_plugins_of_one_name_both_load_and_what_they_import_is_theirs(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"net_{folder}.py").write_text("GAIN = 1\n")
        text = SYSTEM.format(net=f"net_{folder}", name=f"plug-{folder}", cls=folder.title())
        (tmp_path / folder / "adapter.py").write_text(text)
    load_plugins((str(tmp_path / "one" / "adapter.py"), str(tmp_path / "two" / "adapter.py")))
    cls = systems.get("plug-one")
    assert systems.get("plug-two") is not cls
    before = fingerprint(cls(cls.params_type()))
    (tmp_path / "one" / "net_one.py").write_text("GAIN = 2\n")
    assert fingerprint(cls(cls.params_type())) != before, "the network is the adapter's source too"


def test_gpus_follow_the_config_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,3")
    assert Config().gpus() == ("1", "3")
    assert Config(devices=("0",)).gpus() == ("0",)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert Config().gpus() == ()


def test_baselines_are_checked_and_their_paths_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BASELINES, "")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/usr/bin/env")
    file = tmp_path / "metis-bench.yaml"
    file.write_text(
        "baseline_folders: [mine]\n"
        "baselines:\n  a: {python: bin/python, weights: w, accept: [x]}\n  b: {python: python3}\n"
    )
    config = load_config(str(file))
    own = {"python": str(tmp_path / "bin" / "python"), "weights": str(tmp_path / "w"), "accept": ["x"]}
    assert config.baselines == {"a": own, "b": {"python": "python3"}}, "a link to an interpreter is not followed"
    assert json.loads(os.environ[BASELINES]) == {"folders": [str(tmp_path / "mine")], "baselines": config.baselines}
    for entry, line, says in (
        ("a: {pyton: x}", 2, "did you mean 'python'"),
        ("a: {python: x, launcher: [y]}", 2, "either python or launcher"),
        ("a: x", 2, "a: "),
        ("a: {device: gpu}", 2, "device"),
    ):
        file.write_text(f"baselines:\n  {entry}\n")
        with pytest.raises(SuiteError, match=says) as error:
            load_config(str(file))
        assert error.value.line == line
