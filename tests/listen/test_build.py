"""What is published tells nothing; every clip is heard about equally often; the same seed makes the same test."""

from __future__ import annotations

import base64
import json
import re
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metis_bench.audio import Audio, load
from metis_bench.engine.progress import quiet
from metis_bench.errors import UsageError
from metis_bench.hashing import sha256_file
from metis_bench.listen import clips
from metis_bench.listen.build import Built, Options, build
from metis_bench.listen.design import insert_evenly, latin, spread, windows
from metis_bench.listen.page import checked_submit, script_json
from tests.listen.conftest import NAMES, make_run

Build = Callable[..., tuple[Built, dict[str, Any]]]
SECRETS = [*NAMES, "utterance", "secret", "speaker0", "spokentext", "neural", "alpha", "/made/", "cluster", "expect"]


@pytest.mark.parametrize("test", ["qmos", "smos", "cmos"])
@pytest.mark.parametrize("inline", [False, True])
def test_nothing_published_tells_the_system(built: Build, test: str, inline: bool) -> None:
    made, key = built(test, inline=inline, items=4)
    files = [p for p in (made.folder / "publish").rglob("*") if p.is_file()]
    assert len(files) == (1 if inline else 1 + made.clips)
    for path in files:
        data = path.read_bytes() + path.name.encode()
        data += b"".join(base64.b64decode(x) for x in re.findall(rb"base64,([A-Za-z0-9+/=]+)\"", data))
        for secret in SECRETS:
            assert secret.encode() not in data, f"{path.name} tells '{secret}'"
        assert path.stat().st_mtime == (made.folder / "publish").stat().st_mtime
    assert not list((made.folder / "publish").rglob("key*"))
    assert {m["system"] for m in key["meanings"].values()} == {None, *NAMES[1:]}


def test_wav_files_hold_a_format_and_samples_alone_and_are_each_unlike(built: Build) -> None:
    made, _ = built("cmos")
    files = list((made.folder / "publish" / "audio").iterdir())
    headers = set()
    for path in files:
        data = path.read_bytes()
        assert data[12:16] == b"fmt " and data[36:40] == b"data"
        assert struct.unpack("<I", data[40:44])[0] == len(data) - 44, "there is nothing after the samples"
        headers.add(data[12:36])
        assert re.fullmatch(r"[0-9a-f]{12}\.wav", path.name)
    assert len(headers) == 1, "one rate for systems of three"
    assert len({sha256_file(p) for p in files}) == len(files), "the reference, many times, is never the same file"


def test_the_order_of_ids_is_not_that_of_items_or_systems(built: Build) -> None:
    _, key = built(items=6)
    order = [(m["item"], m["system"]) for m in key["meanings"].values() if m["kind"] == "system"]
    assert order != sorted(order)
    assert list(key["page"]["trials"]) == sorted(key["page"]["trials"])


def test_the_same_seed_makes_the_same_test(built: Build, tmp_path: Path) -> None:
    one, two, other = built(out="a")[0], built(out="b")[0], built(out="c", seed=1)[0]
    names = [p.relative_to(one.folder) for p in one.folder.rglob("*") if p.is_file()]
    assert len(names) > 10
    for name in names:
        assert (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
    assert one.test == two.test != other.test


@pytest.mark.parametrize("per_rater", [None, 5, 7])
def test_exposure_is_balanced(built: Build, per_rater: int | None) -> None:
    made, key = built(raters=8, per_rater=per_rater)
    count: Counter[str] = Counter({t: 0 for t, m in key["meanings"].items() if m["kind"] == "system"})
    for form in key["page"]["forms"]:
        assert len(set(form)) == len(form) == (per_rater or 18) + 4 + 3
        count.update(t for t in form if key["meanings"][t]["kind"] == "system")
        systems = Counter(key["meanings"][t]["system"] for t in form if key["meanings"][t]["system"])
        assert max(systems.values()) - min(systems[n] for n in NAMES[1:]) <= 2
        assert key["meanings"][form[0]]["kind"] != "check"
    assert max(count.values()) - min(count.values()) <= 1
    assert made.exposure == (min(count.values()), max(count.values()))


def test_sides_of_a_comparison_are_balanced(built: Build) -> None:
    _, key = built("cmos", raters=6)
    sides: dict[tuple[str, str], list[int]] = {}
    for form in key["page"]["forms"]:
        for meaning in (key["meanings"][t] for t in form):
            if meaning["kind"] == "system":
                sides.setdefault((meaning["item"], meaning["system"]), []).append(meaning["sign"])
    assert len(sides) == 18
    assert all(sum(signs) == 0 for signs in sides.values())


def test_pure_design() -> None:
    assert sorted(latin(4, 3)) == [(i, s) for i in range(4) for s in range(3)]
    assert Counter(c for w in windows(7, 7, 3) for c in w) == Counter(dict.fromkeys(range(7), 3))
    rng = np.random.default_rng(0)
    for groups in (list("aaaabbbbccd"), list("aaab"), list("aaaaab"), ["a"], []):
        order = spread(groups, rng)
        assert sorted(order) == list(range(len(groups)))
        neighbours = sum(groups[x] == groups[y] for x, y in pairwise(order))
        assert neighbours == max(0, 2 * max([groups.count(g) for g in groups], default=0) - len(groups) - 1)
    mixed = insert_evenly(["t"] * 20, ["x", "y", "z"], rng)
    assert [c for c in mixed if c != "t"] == ["x", "y", "z"]
    assert mixed[0] == "t"


def test_only_items_with_every_output_and_what_is_left_out_is_said(tmp_path: Path) -> None:
    run = make_run(tmp_path / "gaps", failed=(("bravovoice", 1), ("bravovoice", 2)))
    made = build(run, tmp_path / "out", Options("qmos"), quiet)
    key = json.loads((tmp_path / "out" / "key.json").read_text())
    used = {m["item"] for m in key["meanings"].values() if m["kind"] == "system"}
    assert used == {f"utterance{i}" for i in (0, 3, 4, 5)}
    assert any("2 of 6 items left out: no output of bravovoice (it crashed)" in n for n in made.notes)
    build(run, tmp_path / "two", Options("qmos", systems=("alphavoice",)), quiet)
    (tmp_path / "gaps" / "corpus" / "reference3.wav").unlink()
    assert build(run, tmp_path / "three", Options("qmos", systems=("alphavoice",)), quiet).trials


def test_anchors_come_from_items_outside_the_test_where_there_are_any(built: Build) -> None:
    _, key = built(items=3)
    kinds: dict[str, set[str]] = {}
    for m in key["meanings"].values():
        kinds.setdefault(m["kind"], set()).add(m["item"])
    assert kinds["high"] == kinds["low"]
    assert not kinds["high"] & kinds["system"]


def test_the_prompt_of_a_check_is_that_of_other_trials(built: Build) -> None:
    _, key = built("smos")
    used = Counter(clips[0] for clips in key["page"]["trials"].values())
    checks = [key["page"]["trials"][t][0] for t, m in key["meanings"].items() if m["kind"] == "check"]
    assert checks
    assert all(used[prompt] > 3 for prompt in checks)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"systems": ("alphavoise",)}, "alphavoice"),
        ({"sets": ("nope",)}, "secretset"),
        ({"test": "cmos"}, "--reference"),
        ({"reference": "ground-truth"}, "--test cmos"),
        ({"test": "cmos", "reference": "alphavoice", "systems": ("alphavoice",)}, "no system"),
        ({"title": "Is AlphaVoice good?"}, "names the system"),
        ({"submit": "javascript:alert(1)"}, "http"),
        ({"submit": "https://x'; script-src *"}, "http"),
    ],
)
def test_what_cannot_be_built_is_said(run: Path, tmp_path: Path, how: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError) as raised:
        build(run, tmp_path / "no", Options(**{"test": "qmos", **how}), quiet)
    assert told in str(raised.value)
    assert not (tmp_path / "no").exists()


def test_a_folder_in_use_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.tex").touch()
    with pytest.raises(UsageError, match="not empty"):
        build(run, tmp_path / "used", Options("qmos"), quiet)


def test_texts_are_escaped_and_the_page_asks_for_nothing_else(built: Build) -> None:
    made, _ = built(title="</script><script>alert('&')</script>", submit="https://lab.example/r?a=1&b=<")
    page = (made.folder / "publish" / "index.html").read_text()
    assert page.count("<script") == 2
    assert "alert('&')" not in page
    links = set(re.findall(r"https?://[^\s\"'<>;]+", page))
    assert {link.partition("?")[0] for link in links} <= {"https://lab.example", "https://lab.example/r"}
    policy = re.search(r'Security-Policy" content="([^"]*)"', page)
    assert policy
    assert "default-src &#39;none&#39;" in policy[1]
    assert "unsafe" not in policy[1]
    assert checked_submit(None) is None
    assert "<" not in script_json({"a": "</script>\u2028"})


def test_every_control_of_the_page_has_a_name(built: Build) -> None:
    page = (built("cmos")[0].folder / "publish" / "index.html").read_text()
    assert 'lang="en"' in page
    assert "<legend>" in page
    assert page.count('<input type="radio"') == 7
    assert all(re.search(r"<label>\s*<input", part) for part in re.findall(r"<label><input[^>]*radio.*", page))
    assert '<label for="rater">' in page
    assert 'role="status" aria-live="polite"' in page


def test_levels() -> None:
    time = np.arange(32_000) / 16_000
    tone = (0.3 * np.sin(2 * np.pi * 300 * time)).astype(np.float32)
    rms = 20 * np.log10(0.3 / 2**0.5)
    assert clips.active_level(tone, 16_000) == pytest.approx(rms, abs=0.1)
    half = np.concatenate([tone, np.zeros(32_000, dtype=np.float32)])
    assert clips.active_level(half, 16_000) == pytest.approx(rms, abs=0.6), "silence does not count"
    assert clips.active_level(np.zeros(100, dtype=np.float32), 16_000) == -np.inf
    assert clips.active_level(clips.at_level(Audio(half, 16_000), -26).samples, 16_000) == pytest.approx(-26, abs=0.05)
    assert np.abs(clips.at_level(Audio(half, 16_000), 0).samples).max() <= 1.0


def test_the_low_anchor_is_dull_and_noisy() -> None:
    rng = np.random.default_rng(0)
    clip = Audio((0.1 * rng.standard_normal(24_000)).astype(np.float32), 24_000)
    power = np.abs(np.fft.rfft(clips.low_anchor(clip, rng).samples)) ** 2
    assert power[6_000:].sum() < 1e-4 * power.sum()
    assert len(clips.low_anchor(clip, rng).samples) == 24_000


def test_loudness_is_that_of_every_clip(built: Build) -> None:
    made, key = built(loudness=-30.0, items=2)
    for name in key["page"]["audio"]:
        audio = load(made.folder / "publish" / "audio" / f"{name}.wav")
        assert clips.active_level(audio.samples, audio.rate) == pytest.approx(-30, abs=0.3)


LOGIC = """
const m = require(process.argv[2]);
const test = {test: "t", hash: "h", forms: [["x", "y"]], trials: {x: ["c", "d"], y: ["e"]}};
const s = m.emptyState("r", 1, "now"), a = m.answerOf(s, "x"), out = {};
out.address = m.fromAddress("?rater=%20Ann%20&form=3", 4);
out.wrong = m.fromAddress("?form=9", 4).form;
out.forms = Array.from({length: 400}, (_, k) => m.formOf("rater" + k, 4));
out.again = m.formOf("é", 7) === m.formOf("é", 7);
out.first = m.nextClip(a, 2, null);
a.plays = [1];
out.second = m.nextClip(a, 2, 0);
out.half = m.heardAll(a, 2);
Object.assign(a, {plays: [1, 2], value: 0, seconds: 1.234});
out.whole = m.heardAll(a, 2);
out.round = m.nextClip(a, 2, 1);
out.file = m.ratingsFile(test, s);
out.other = m.restored(JSON.stringify(s), "q", 1);
out.back = m.restored(JSON.stringify(s), "r", 1).answers.x.value;
out.junk = [m.restored("{", "r", 1), m.restored("null", "r", 1), m.restored(null, "r", 1)];
console.log(JSON.stringify(out));
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_logic_of_the_page(tmp_path: Path) -> None:
    script = Path(__file__).resolve().parents[2] / "reports" / "player" / "listen.js"
    shutil.copyfile(script, tmp_path / "listen.cjs")
    (tmp_path / "t.cjs").write_text(LOGIC)
    command = ["node", str(tmp_path / "t.cjs"), str(tmp_path / "listen.cjs")]
    out = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert out["address"] == {"rater": "Ann", "form": 3}
    assert out["wrong"] is None
    assert min(Counter(out["forms"]).values()) > 70
    assert sorted(Counter(out["forms"])) == [1, 2, 3, 4]
    assert (out["first"], out["second"], out["half"], out["whole"], out["round"]) == (0, 1, False, True, 0)
    assert out["file"]["ratings"] == [{"trial": "x", "value": 0, "plays": [1, 2], "seconds": 1.2}]
    assert (out["other"], out["back"], out["junk"], out["again"]) == (None, 0, [None, None, None], True)
