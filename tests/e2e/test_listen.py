"""Listening tests through the command: from a run to scores, and what is wrong told in one screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metis_bench.engine.progress import quiet
from metis_bench.listen.build import Options, build
from tests.e2e.conftest import Command
from tests.listen.conftest import honest, make_run, rate

VALUES = {"alphavoice": 4, "bravovoice": 3, "charlie <b>|": 2}


BUILD = ("--test", "qmos", "--raters", "4", "--items", "3")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """A built test in tmp_path/mos, with two raters' files."""
    options = Options("qmos", raters=4, items=3)
    build(make_run(tmp_path / "made"), tmp_path / "mos", options, quiet)
    key = json.loads((tmp_path / "mos" / "key.json").read_text())
    for rater in range(2):
        (tmp_path / f"r{rater}.json").write_text(json.dumps(rate(key, rater, honest(VALUES))))
    return tmp_path


def test_from_a_run_to_scores(made: Path, metis_bench: Command) -> None:
    built = metis_bench("listen", "build", "made/secretrun", *BUILD, "--out", "other", "--json").json
    assert (built["exposure"], built["per_rater"]) == ([4, 4], 3 * 3 + 4 + 3)
    assert sorted(p.name for p in (made / "other").iterdir()) == ["key.json", "publish", "raters.csv"]
    assert (made / "other" / "key.json").read_bytes() == (made / "mos" / "key.json").read_bytes()
    done = metis_bench("listen", "import", "mos/key.json", "r0.json", "r1.json", "--out", "scores")
    assert done.code == 0, done.err
    assert done.out == (made / "scores" / "results.md").read_text()
    assert "| alphavoice | 4.00 | 4.00 to 4.00 | 2 | 3 | 6 |" in done.out
    found = metis_bench("listen", "import", "mos/key.json", "r0.json", "r1.json", "--json").json
    assert found == json.loads((made / "scores" / "results.json").read_text())
    again = metis_bench("listen", "build", "made/secretrun", "--test", "qmos", "--out", "mos")
    assert again.code == 2
    assert "not empty" in again.err


def test_no_rater_that_counts_is_no_comparison(made: Path, metis_bench: Command) -> None:
    ratings = json.loads((made / "r0.json").read_text())
    ratings["ratings"].pop()
    (made / "part.json").write_text(json.dumps(ratings))
    done = metis_bench("listen", "import", "mos/key.json", "part.json")
    assert done.code == 3
    assert "incomplete: 15 of 16 rated" in done.out


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("build", "nothing", "--test", "qmos", "--out", "x"), "no run called"),
        (("build", "made/secretrun", "--test", "mos", "--out", "x"), "qmos"),
        (("build", "made/secretrun", "--test", "cmos", "--out", "x"), "--reference"),
        (("build", "made/secretrun", "--test", "qmos", "--out", "x", "--loudness", "loud"), "dBov"),
        (("build", "made/secretrun", "--test", "qmos", "--out", "x", "--loudness", "nan"), "dBov"),
        (("build", "made/secretrun", "--test", "qmos", "--out", "x", "--raters", "0"), "--raters"),
        (("build", "made/secretrun", "--test", "qmos", "--out", "x", "--system", ","), "--system"),
        (("build", "made/secretrun", "--test", "qmos", "--out", "r0.json/x"), "cannot write"),
        (("build", "made/secretrun", "--test", "qmos", "--out", "r0.json"), "not empty"),
        (("import", "r0.json", "r1.json"), "r0.json"),
        (("import", "mos/key.json"), "RATINGS"),
        (("import", "mos/key.json", "r0.json", "mos/key.json"), "1 of 2 ratings files are refused"),
        (("import", "mos/key.json", "r0.json", "--against", "alfavoice"), "alphavoice"),
        (("import", "mos/key.json", "r0.json", "--out", "r1.json"), "cannot write"),
        (("import", "none.json", "r0.json"), "none.json"),
    ],
)
def test_what_is_wrong_is_told_in_one_screen(
    made: Path, metis_bench: Command, args: tuple[str, ...], told: str
) -> None:
    done = metis_bench("listen", *args)
    assert done.code == 2
    assert told in done.err
    assert not done.out
    assert len(done.err.splitlines()) < 15
    assert not (made / "x").exists()
