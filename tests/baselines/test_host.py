"""The host: what a competitor is told, what is made of its outputs, and who is blamed."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio
from metis_bench.baselines.conformance import outcome, requests
from metis_bench.baselines.host import MAX_LOST, Failed, Host, Made, Unusable
from metis_bench.baselines.manifest import Limits
from metis_bench.errors import ItemError, MetisBenchError, MissingPrerequisite, SuiteError
from metis_bench.systems.base import Request, fingerprint
from metis_bench.systems.baseline import BaselineSystem, class_of, wav16
from tests.baselines.conftest import TONE, Build, Write

TELLS = """
import json, os, random, sys, wave

def load(ctx):
    return Tells(ctx)

class Tells:
    def __init__(self, ctx):
        self.ctx = ctx

    def run(self, item):
        facts = {"item": item, "options": self.ctx.options, "device": self.ctx.device, "repo": self.ctx.repo}
        facts.update(weights=self.ctx.weights, cwd=os.getcwd(), path=sys.path, env=dict(os.environ))
        facts.update(draw=random.random(), inputs={})
        for name in ("prompt", "source"):
            if name in item:
                with wave.open(item[name]) as file:
                    facts["inputs"][name] = list(file.getparams()[:4])
        with open("@OUT@", "w") as file:
            json.dump(facts, file)
        return [0.1, -0.1] * 4000, 16000
"""
Tell = Callable[..., Any]


@pytest.fixture
def tell(build: Build, tmp_path: Path) -> Tell:
    """A system whose adapter writes down what it is told: `told = tell(...)`, then `told(request)`."""
    place = tmp_path / "told.json"

    def made(**changes: Any) -> Callable[[Request], dict[str, Any]]:
        system = build(TELLS.replace("@OUT@", str(place)), **changes)

        def told(request: Request) -> dict[str, Any]:
            assert isinstance(outcome(system, request), Audio)
            return dict(json.loads(place.read_text(encoding="utf-8")))

        return told

    return made


def test_a_competitor_is_told_its_inputs_and_nothing_else(tell: Tell) -> None:
    request = replace(requests("tts")[0], reference=Audio(np.ones(16_000, np.float32), 16_000), duration=3.0)
    facts = tell(presets={"paper": {"steps": 5, "cfg": 0.7}, "fast": {"steps": 1, "cfg": 0.7}})(request)
    assert set(facts["item"]) == {"id", "task", "language", "text", "prompt", "seed", "out"}
    assert facts["item"]["seed"] == request.seed and facts["item"]["text"] == request.text
    assert facts["inputs"] == {"prompt": [1, 2, 16_000, 24_000]}
    assert facts["options"] == {"steps": 5, "cfg": 0.7} and facts["device"] == "cpu" and facts["repo"] is None
    assert facts["env"]["CUDA_VISIBLE_DEVICES"] == "", "it may take whatever GPU it sees"
    assert facts["env"]["HF_HUB_OFFLINE"] == "1" and "PYTHONPATH" not in facts["env"]
    assert Path(facts["cwd"]).is_relative_to(facts["env"]["TMPDIR"])


def test_what_the_manifest_and_the_machine_say_reaches_it(
    tell: Tell, tmp_path: Path, machine_says: Callable[..., None]
) -> None:
    repo, weights = tmp_path / "checkout", tmp_path / "weights"
    (repo / "src").mkdir(parents=True)
    weights.mkdir()
    (weights / "model.pt").write_bytes(b"1")
    machine_says(toy={"repo": str(repo), "weights": str(weights), "vars": {"TOS": "1"}, "device": "cuda:3"})
    told = tell(
        tasks=["vc"],
        params={"preset": "fast", "options": {"cfg": 2}},
        presets={"paper": {"steps": 5, "cfg": 0.7}, "fast": {"steps": 1, "cfg": 0.7}},
        upstream={"url": "https://example.org/toy", "clone": True},
        env={"cwd": "repo", "pythonpath": ["src"], "vars": {"MODE": "x"}},
        weights=[{"id": "dit", "hf": "toy/toy", "file": "model.pt"}],
        io={"prompt_text": True},
    )
    facts = told(requests("vc")[1])
    assert facts["cwd"] == str(repo) and str(repo / "src") in facts["path"]
    assert facts["weights"] == {"dit": str(weights / "model.pt")} and facts["device"] == "cuda:3"
    assert (facts["env"]["TOS"], facts["env"]["MODE"]) == ("1", "x") and facts["options"] == {"steps": 1, "cfg": 2}
    assert set(facts["item"]) == {"id", "task", "language", "source", "prompt", "seed", "out"}


def test_the_seed_decides_and_the_order_does_not(tell: Tell) -> None:
    first, second, _ = requests("tts")
    told = tell()
    draws = [told(r)["draw"] for r in (first, second, first)]
    assert draws[0] == draws[2] != draws[1]
    assert told(replace(first, seed=1))["draw"] != draws[0]


def test_sixteen_bits_stay_what_they_are() -> None:
    steps = np.arange(-32768, 32768, 3)
    with wave.open(io.BytesIO(wav16(Audio((steps / 32768).astype(np.float32), 8_000)))) as file:
        assert np.array_equal(np.frombuffer(file.readframes(len(steps)), "<i2"), steps)
    with wave.open(io.BytesIO(wav16(Audio(np.array([2.0, -2.0, 1e-6], np.float32), 8_000)))) as file:
        assert np.frombuffer(file.readframes(3), "<i2").tolist() == [32767, -32768, 0]


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("[0.1] * 100, 16000.5", "16000.5 Hz"),
        ("'/no/such/file.wav'", "outside of its folder"),
        ("item['out'] + '.wav'", "no such file|cannot be read|not found|No such file"),
        ("[1, 2], 16000, 3", "too many values"),
        ("None", "NoneType"),
        ("['a'], 16000", "TypeError"),
    ],
)
def test_what_is_no_audio_is_a_failed_row(build: Build, returned: str, reason: str) -> None:
    adapter = f"def load(ctx):\n    return A()\nclass A:\n    def run(self, item):\n        return {returned}\n"
    why = outcome(build(adapter), requests("tts")[0])
    assert isinstance(why, str) and re.search(reason, why), why


def test_numpy_and_shapes(build: Build) -> None:
    adapter = """
import numpy
def load(ctx):
    return A()
class A:
    def run(self, item):
        kinds = {"before": numpy.ones((1, 800)) * 0.5, "bad": numpy.ones((2, 800)), "after": numpy.ones(800, "int16")}
        return kinds[item["id"]] * (numpy.arange(800) % 2 if item["id"] == "before" else 1), 16000
"""
    first, stereo, integers = (outcome(build(adapter), request) for request in requests("tts"))
    assert isinstance(first, Audio) and first.samples.shape == (800,) and first.samples.max() == 0.5
    assert "shape (2, 800); expected mono" in str(stereo) and "int16 samples" in str(integers)


def test_length_and_delay_are_made_good(build: Build) -> None:
    adapter = """
import wave, array
def load(ctx):
    return Late()
class Late:
    def run(self, item):
        with wave.open(item["source"]) as file:
            samples = array.array("h", file.readframes(file.getnframes()))
        cut = 0 if item["id"] != "after" else 12000
        return [0.0] * 320 + [s / 32768 for s in samples[cut:]], 16000
"""
    system = build(adapter, tasks=["se"], io={"rate": 16_000, "length": "same", "delay_ms": 20})
    asked = requests("se")
    output = outcome(system, asked[0])
    assert isinstance(output, Audio) and asked[0].source is not None
    np.testing.assert_allclose(output.samples, asked[0].source.samples, atol=1 / 32768)
    assert "for a source of 2.00 s" in str(outcome(system, asked[2]))


def test_a_language_that_it_does_not_speak_is_a_failed_row(build: Build) -> None:
    system = build(io={"languages": ["en", "zh"]})
    first, second, _ = requests("tts")
    outputs = list(system.generate_all([replace(first, language="ja"), second]))
    assert "does not speak 'ja'" in str(outputs[0]) and isinstance(outputs[1], Audio)


BATCHED = """
def load(ctx):
    return Batched()

class Batched:
    def run_batch(self, items):
        for number, item in enumerate(items):
            if item["id"] == "bad":
                yield ValueError("bad one of %d" % len(items))
            else:
                yield [0.1 * (number + 1), -0.1] * 4000, 16000
"""


def test_batches_come_in_order_and_one_bad_item_is_alone(build: Build) -> None:
    system = build(BATCHED, batch=8)
    assert system.batch_on(gpu=False) == 8
    outputs = list(system.generate_all(requests("tts")))
    assert isinstance(outputs[0], Audio) and isinstance(outputs[2], Audio)
    assert "bad one of 3" in str(outputs[1])
    assert [round(float(outputs[i].samples[0]), 4) for i in (0, 2)] == [0.1, 0.3]  # type: ignore[union-attr]


def test_a_batch_of_too_few_results_fails_those_that_lack(build: Build) -> None:
    short = BATCHED.replace(
        "                yield [0.1",
        "                if number == 2:\n                    return\n                yield [0.1",
    )
    outputs = list(build(short, batch=8).generate_all(requests("tts")))
    assert isinstance(outputs[0], Audio) and "returned 2 results for 3 items" in str(outputs[2])


def test_a_crash_in_a_batch_costs_one_item(build: Build) -> None:
    dies = BATCHED.replace('yield ValueError("bad one of %d" % len(items))', "import os; os._exit(3)")
    outputs = list(build(dies, batch=8).generate_all(requests("tts")))
    assert isinstance(outputs[0], Audio) and isinstance(outputs[2], Audio)
    assert "died twice at this item: exit code 3" in str(outputs[1])


FRAGILE = """
import os, sys

def load(ctx):
    return Fragile()

class Fragile:
    def run(self, item):
        sys.stderr.write("out of luck at " + item["id"] + chr(10))
        if item["id"].startswith("dies"):
            os._exit(5)
        return [0.1, -0.1] * 4000, 16000
"""


def named(*names: str) -> list[Request]:
    return [replace(requests("tts")[0], id=name) for name in names]


def test_three_lost_in_a_row_end_it_with_the_last_words(build: Build) -> None:
    system = build(FRAGILE)
    out = list(system.generate_all(named("a", "dies1", "dies2", "b", "dies3", "dies4", "dies5", "c")))
    assert [isinstance(o, Audio) for o in out] == [True, False, False, True, False, False, False, False]
    assert f"lost {MAX_LOST} items in a row" in str(out[6]) and "out of luck at dies5" in str(out[7])
    assert f"lost {MAX_LOST} items in a row" in str(outcome(system, named("d")[0])), "it is not started again"


def test_an_item_is_tried_twice(build: Build, tmp_path: Path) -> None:
    flaky = FRAGILE.replace(
        "os._exit(5)", f"mark = {str(tmp_path / 'seen')!r}; os.path.exists(mark) or (open(mark, 'w'), os._exit(5))"
    )
    assert isinstance(outcome(build(flaky), named("dies")[0]), Audio)


def test_a_poisoned_process_is_not_used_again(build: Build) -> None:
    poisoned = FRAGILE.replace("os._exit(5)", "self.sick = True").replace(
        "return [",
        "if getattr(self, 'sick', False): raise RuntimeError('CUDA error: device-side assert')\n        return [",
    )
    first, second = build(poisoned).generate_all(named("dies", "well"))
    assert "CUDA error" in str(first) and isinstance(second, Audio)


def test_what_cannot_be_loaded_says_why(build: Build) -> None:
    for adapter, why in (
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("def load(ctx):\n    raise SystemExit('no licence')", "SystemExit: no licence"),
        ("import os\nos._exit(4)", "exit code 4"),
        ("def load(ctx)\n", "SyntaxError"),
        ("import time\ndef load(ctx):\n    time.sleep(60)", "timed out after 2 s"),
    ):
        with pytest.raises(MetisBenchError, match="cannot be loaded") as error:
            build(adapter, limits={"load_s": 2})
        assert why in str(error.value)


def test_an_interpreter_that_is_none(write: Write, machine_says: Callable[..., None], tmp_path: Path) -> None:
    machine_says(toy={"python": str(tmp_path / "python")})
    cls = class_of(write())
    system = cls(cls.params_type())
    with pytest.raises(MissingPrerequisite, match="no interpreter at"):
        system.check()
    machine_says(toy={"launcher": ["/no/such/launcher", "python"]})
    with pytest.raises(MetisBenchError, match="cannot be started"):
        system.setup()
    system.close()
    machine_says(toy={"launcher": ["env", "A=1", sys.executable]})
    system.setup()
    assert isinstance(outcome(system, requests("tts")[0]), Audio)
    system.close()


def test_what_is_missing_is_told_before_anything_runs(
    write: Write, machine_says: Callable[..., None], tmp_path: Path
) -> None:
    baseline = write(
        upstream={"url": "https://example.org/toy", "commit": "0123456789", "clone": True},
        licence={"code": "MIT", "weights": "CPML", "accept": ["cpml"]},
        env={"requires": ["toy==1"]},
        weights=[{"id": "dit", "manual": "ask its authors", "dest": "a/model.pt"}],
        device={"gpu": "required"},
        presets={"paper": {"steps": 5}},
    )
    cls = class_of(baseline)
    weights, repo = tmp_path / "w", tmp_path / "r"
    said: dict[str, Any] = {}
    steps: list[tuple[str, dict[str, Any]]] = [
        ("CPML", {"accept": ["cpml"]}),
        ("baselines env toy", {"python": sys.executable}),
        ("git clone https://example.org/toy", {"repo": str(repo)}),
        ("ask its authors", {"weights": str(weights)}),
        ("needs a GPU", {"device": "cuda:0"}),
    ]
    repo.mkdir()
    for expected, mend in steps:
        if expected == "ask its authors":
            (weights / "a").mkdir(parents=True)
        with pytest.raises(MissingPrerequisite) as error:
            cls(cls.params_type()).check()
        assert expected in str(error.value), error.value
        said |= mend
        if expected == "ask its authors":
            (weights / "a" / "model.pt").touch()
        machine_says(toy=said)
    cls(cls.params_type()).check()
    for params, nearest in (({"preset": "papr"}, "paper"), ({"options": {"step": 1}}, "steps")):
        with pytest.raises(SuiteError, match=nearest):
            cls(cls.params_type.model_validate(params)).check()


def test_whatever_decides_an_output_is_in_the_fingerprint(
    write: Write, machine_says: Callable[..., None], tmp_path: Path
) -> None:
    weights = tmp_path / "w"
    weights.mkdir()
    (weights / "m.pt").write_bytes(b"1")
    machine_says(toy={"weights": str(weights)})
    base: dict[str, Any] = {
        "weights": [{"id": "m", "hf": "toy/toy", "file": "m.pt"}],
        "presets": {"a": {"s": 1}, "b": {"s": 2}, "c": {"s": 1}},
    }

    def print_of(params: dict[str, Any] | None = None, **changes: Any) -> str:
        cls = class_of(write(**{**base, **changes}))
        return fingerprint(cls(cls.params_type.model_validate(params or {})))

    same = print_of()
    assert print_of(title="Another title", notes=["a note"]) == same
    others = {
        print_of({"options": {"s": 3}}),
        print_of({"preset": "b"}),
        print_of(adapter=TONE + "\n"),
        print_of(io={"delay_ms": 5}),
        print_of(upstream={"url": "https://example.org/toy", "commit": "abcdef0"}),
    }
    (weights / "m.pt").write_bytes(b"22")
    others.add(print_of())
    assert len(others | {same}) == 7


def test_the_host_is_read_to_its_end(write: Write) -> None:
    cls = class_of(write())
    system = cls(cls.params_type())
    assert isinstance(system, BaselineSystem)
    host = Host(replace(system.launch(), limits=Limits(item_s=20)))
    try:
        items = [{"id": str(i), "seed": i, "out": str(host.work / str(i))} for i in range(4)]
        assert all(isinstance(o, Made) for o in host.make(items))
        assert all(isinstance(o, Made) for o in host.make(items[:2]))
        assert len(host.tokens) == 1, "one worker did both"
        assert not [o for o in host.make([]) if isinstance(o, Failed)]
    finally:
        host.close()
    with pytest.raises((Unusable, OSError, ValueError)):
        host.start()


def test_published_and_manual_baselines_cannot_be_run(write: Write, machine_says: Callable[..., None]) -> None:
    with pytest.raises(SuiteError, match="only published numbers"):
        class_of(write("paper-only", adapter=None, status="published"))
    cls = class_of(write("by-hand", adapter=None, status="manual"))
    with pytest.raises(MissingPrerequisite, match="baselines import by-hand"):
        cls(cls.params_type()).check()
    assert issubclass(ItemError, MetisBenchError)


def test_who_imports_the_worker_keeps_his_stdout() -> None:
    program = "import sys, metis_bench.systems.baseline; print('data'); print(sys.stdin.read())"
    done = subprocess.run([sys.executable, "-c", program], input="in", capture_output=True, text=True, check=True)
    assert done.stdout == "data\nin\n"


def test_time_is_the_competitors_own(build: Build, tmp_path: Path) -> None:
    """Not that of an attempt that died, nor of loading again."""
    slow = f"""
import os, time
time.sleep(1)
def load(ctx):
    return Slow()
class Slow:
    def run(self, item):
        mark = {str(tmp_path / "seen")!r}
        if not os.path.exists(mark):
            open(mark, "w")
            time.sleep(1)
            os._exit(3)
        time.sleep(0.1)
        print("noise " * 100000)
        return [0.1, -0.1] * 4000, 16000
"""
    system = build(slow)
    assert isinstance(outcome(system, requests("tts")[0]), Audio)
    seconds, peak = system.measured() or (0, 0)
    assert 0.1 <= seconds < 0.9 and (peak or 0) > 1


def test_results_of_a_batch_are_never_shifted(build: Build, tmp_path: Path) -> None:
    """A batch that fails once is not asked again, and one result too many makes all of them worth nothing."""
    fails_once = f"""
import os
def load(ctx):
    return Batched()
class Batched:
    def run_batch(self, items):
        if not os.path.exists({str(tmp_path / "seen")!r}):
            open({str(tmp_path / "seen")!r}, "w")
            raise MemoryError("out of memory")
        return [([0.1 * (1 + i), -0.1] * 4000, 16000) for i in range(len(items))]
"""
    system = build(fails_once, batch=8)
    assert [str(o) for o in system.generate_all(requests("tts"))] == ["MemoryError: out of memory"] * 3
    levels = [round(float(o.samples[0]), 2) for o in system.generate_all(requests("tts"))]  # type: ignore[union-attr]
    assert levels == [0.1, 0.2, 0.3]
    many = fails_once.replace("range(len(items))", "range(len(items) + 1)")
    outputs = list(build(many, batch=8).generate_all(requests("tts")))
    assert all("nobody knows whose is whose" in str(o) for o in outputs)


def test_every_item_of_a_batch_has_its_seed(build: Build) -> None:
    drawn = """
import random
def load(ctx):
    return Batched()
class Batched:
    def run_batch(self, items):
        for item in items:
            yield [random.uniform(0.1, 0.3), -0.1] * 4000, 16000
"""
    system, (first, second, third) = build(drawn, batch=8), requests("tts")
    one = [o.samples[0] for o in system.generate_all([first, second, third])]  # type: ignore[union-attr]
    other = [o.samples[0] for o in system.generate_all([third, second])]  # type: ignore[union-attr]
    assert one[::-1][:2] == other and len(set(one)) == 3


def test_a_file_of_another_item_is_never_taken(build: Build) -> None:
    stale = """
import os, struct, wave
def load(ctx):
    return Stale(ctx.work)
class Stale:
    def __init__(self, work):
        self.path = os.path.join(work, "out.wav")
    def run(self, item):
        if item["id"] != "bad":
            with wave.open(self.path, "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes(struct.pack("<2h", 3000, -3000) * 4000)
        return self.path
"""
    first, bad, last = (outcome(system, r) for system in [build(stale)] for r in requests("tts"))
    assert isinstance(first, Audio) and isinstance(last, Audio)
    assert "FileNotFoundError" in str(bad), "the tool wrote nothing, and the file of the item before lies there no more"


@pytest.mark.parametrize("samples", ["[1, 0] * 100", "b'abcd' * 100", "array.array('h', [1, 2] * 100)", "'x'"])
def test_integers_are_no_samples(build: Build, samples: str) -> None:
    adapter = "import array\ndef load(ctx):\n    return A()\nclass A:\n    def run(self, item):\n        return "
    adapter += f"{samples}, 16000"
    assert "no floats" in str(outcome(build(adapter), requests("tts")[0]))


def test_words_that_cannot_be_said_cost_one_row(build: Build) -> None:
    adapter = """
import sys
class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no words")
def load(ctx):
    sys.stderr = None
    return A()
class A:
    def run(self, item):
        if item["id"] == "before":
            raise ValueError("odd name \\udcff")
        if item["id"] == "bad":
            raise Mute()
        sys.exit("tired")
"""
    system = build(adapter)
    one, two, three = (outcome(system, r) for r in requests("tts"))
    assert one == "ValueError: odd name ?" and "Mute" in str(two) and three == "SystemExit: tired"
    assert len(system.host.tokens) == 1  # type: ignore[attr-defined]  # all by one worker


def test_an_adapter_that_deletes_its_folders_loses_one_item(build: Build) -> None:
    adapter = """
import os, shutil
def load(ctx):
    return A(ctx.work)
class A:
    def __init__(self, work):
        self.work = work
    def run(self, item):
        if item["id"] == "bad":
            shutil.rmtree(self.work)
            shutil.rmtree(os.path.dirname(item["out"]))
        return [0.1, -0.1] * 4000, 16000
"""
    system = build(adapter)
    one, _, three = (outcome(system, r) for r in requests("tts"))
    assert isinstance(one, Audio) and isinstance(three, Audio)


def test_two_items_that_crash_do_not_end_it(build: Build) -> None:
    system = build(FRAGILE)
    (first,) = system.generate_all(named("dies1"))  # as the unmeasured run of a first item
    outputs = list(system.generate_all(named("dies1", "dies2", "well")))
    assert "died twice" in str(first) and isinstance(outputs[2], Audio)


def test_close_is_called(build: Build, tmp_path: Path) -> None:
    adapter = TONE + f"\n    def close(self):\n        open({str(tmp_path / 'closed')!r}, 'w').close()\n"
    system = build(adapter)
    system.close()
    assert (tmp_path / "closed").exists()


def test_the_competitors_modules_are_its_own(build: Build, machine_says: Callable[..., None], tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "manifest.py").write_text("WHOSE = 'theirs'\n")
    machine_says(toy={"repo": str(repo)})
    adapter = "import manifest\nassert manifest.WHOSE == 'theirs'\n" + TONE
    upstream, env = {"url": "https://example.org/toy", "clone": True}, {"pythonpath": ["."]}
    assert isinstance(outcome(build(adapter, upstream=upstream, env=env), requests("tts")[0]), Audio)


def test_a_worker_that_holds_the_interpreter_dies_with_its_host(tmp_path: Path, write: Write) -> None:
    """And the next run tidies up what a killed one has left."""
    import time

    from metis_bench.baselines import processes
    from metis_bench.baselines.host import sweep

    folder = write(
        adapter=TONE.replace("return [0.3", "import ctypes; ctypes.PyDLL(None).sleep(600); return [0.3")
    ).folder
    program = f"""
from metis_bench.baselines.manifest import read
from metis_bench.systems.baseline import class_of
from metis_bench.baselines.conformance import requests
from pathlib import Path
cls = class_of(read(Path({str(folder)!r})))
system = cls(cls.params_type())
system.setup()
print(system.host.folder, system.host.tokens[0], flush=True)
system.generate(requests("tts")[0])
"""
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=env)
    assert process.stdout is not None
    left, token = process.stdout.readline().split()
    time.sleep(1)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10
    while processes.marked(token) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes.marked(token)
    assert Path(left).exists()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path))
        sweep()
    assert not Path(left).exists()


def test_edited_code_and_variables_are_in_the_fingerprint(
    write: Write, machine_says: Callable[..., None], tmp_path: Path
) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    git = ["git", "-C", str(repo), "-c", "user.name=a", "-c", "user.email=a@b"]
    (repo / "model.py").write_text("GAIN = 1\n")
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-qm", "one"], check=True)

    def now(**more: Any) -> str:
        machine_says(toy={"repo": str(repo), **more})
        cls = class_of(write(upstream={"url": "https://example.org/toy", "clone": True}))
        return fingerprint(cls(cls.params_type()))

    seen = [now(), now(vars={"GAIN": "2"})]
    (repo / "model.py").write_text("GAIN = 3\n")
    seen.append(now())
    (repo / "new.py").write_text("")
    seen.append(now())
    assert len(set(seen)) == 4 and now() == seen[-1]


def test_lips_are_seen_without_their_sound(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    from metis_bench.baselines.video import pictures

    source = tmp_path / "talk.mp4"
    with av.open(str(source), "w") as made:
        video, sound = made.add_stream("mpeg4", rate=25), made.add_stream("aac", rate=16_000)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        for i in range(10):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * i, np.uint8), format="rgb24")
            made.mux(video.encode(frame))
        made.mux(video.encode())
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        heard.rate = 16_000
        made.mux(sound.encode(heard))
        made.mux(sound.encode())
    with av.open(str(pictures(source, tmp_path / "seen.mp4"))) as seen:
        assert not seen.streams.audio and sum(1 for _ in seen.decode(video=0)) == 10
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(ItemError, match=r"broken\.mp4"):
        pictures(tmp_path / "broken.mp4", tmp_path / "x.mp4")
