"""Several runs as one set of leaderboards: merged where they compare, apart with the reason where they do not; ties."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from metis_bench.comparison import Side, paired
from metis_bench.published.attach import PublishedCell, PublishedRow
from metis_bench.published.verdict import Measured, matching, verdict
from metis_bench.report.data import RunData, load_run
from metis_bench.report.merge import Leaderboard, Run, merge
from metis_bench.report.ranks import rank
from metis_bench.report.tables import build_boards
from tests.report.conftest import Fabricated, fabricate, with_protocols

SET = "dns2020/no_reverb"


def only(made: Fabricated, *names: str) -> Fabricated:
    """The run of these systems alone, as of another machine."""
    for part in ("plan", "generations", "scores"):
        setattr(made, part, [line for line in getattr(made, part) if line.get("system", names[0]) in names])
    made.results["systems"] = [s for s in made.results["systems"] if s["name"] in names]
    made.results["cells"] = [c for c in made.results["cells"] if c["system"] in names]
    made.results["oracle_checks"] = []
    return made


def run(made: Fabricated, name: str = "") -> Run:
    return Run(name or made.path.name, load_run(made.save().path), made.audio)


def board(found: tuple[Leaderboard, ...], name: str = SET) -> Leaderboard:
    return next(one for one in found if one.id == name)


@pytest.fixture
def two(tmp_path: Path) -> tuple[Fabricated, Fabricated]:
    """The same items on two machines, all systems but one on the first."""
    first, second = (with_protocols(fabricate(tmp_path / name, items=24)) for name in ("lab", "cluster"))
    names = [s["name"] for s in first.results["systems"]]
    return only(first, *names[:-1]), only(second, names[-1], "clean")


def test_runs_of_equal_protocols_share_a_leaderboard(two: tuple[Fabricated, Fabricated]) -> None:
    found = merge([run(made) for made in two])
    assert [one.id for one in found] == ["dns2020/no_reverb", "dns2020/real_recordings", "wild/<b>x</b>|'\""]
    one = board(found)
    assert [r.name for r in one.runs] == ["lab", "cluster"] and len(one.data.results.systems) == 8
    assert [r.name for r in one.origins["their <i>model</i> | v2"]] == ["cluster"]
    assert [r.name for r in one.origins["clean"]] == ["lab", "cluster"], "measured twice, with equal values"
    assert len(one.data.rows) == 24 * 9 and len(one.data.scores) == len(one.data.generations) - 2
    assert all(cell.rank is None for cell in one.data.results.cells), "nobody ranked them together yet"
    assert one.notes == ("Costs are of several runs, and the machine decides them: they are shown, and not ranked.",)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("list_hash", "the lists of items differ"),
        ("signature", "DNSMOS OVRL: the metrics' signatures differ"),
        ("protocol", "DNSMOS OVRL: the protocols differ in seeds, aggregation or statistics"),
        ("untold", "DNSMOS OVRL: its protocol is not told"),
        ("stats", "their intervals are made differently"),
        ("unit", "DNSMOS OVRL means two things"),
        ("cost", "RTF: the metrics' signatures differ"),
    ],
)
def test_what_does_not_compare_stays_apart(two: tuple[Fabricated, Fabricated], change: str, reason: str) -> None:
    results = two[1].results
    cells = [c for c in results["cells"] if c["set"] == SET and c["column"] == "dnsmos.ovrl"]
    if change == "list_hash":
        next(s for s in results["sets"] if s["id"] == SET)["list_hash"] = "d" * 64
    elif change == "stats":
        results["stats"]["resamples"] = 999
    elif change == "cost":
        for cell in (c for c in results["cells"] if c["column"] == "rtf"):
            cell["signature"] = "another"
    elif change == "unit":
        results["columns"][0]["unit"] = "dB"
    else:
        for cell in cells:
            cell["protocol"] = None if change == "untold" else "another"
            cell["signature"] = "ffffffffffff" if change == "signature" else cell["signature"]
    found = merge([run(made) for made in two])
    apart = [one for one in found if one.id.startswith(SET)]
    assert [one.id for one in apart] == [SET, f"{SET} (2)"]
    assert [[r.name for r in one.runs] for one in apart] == [["lab"], ["cluster"]]
    for one in apart:
        (note,) = one.notes
        assert note.startswith("cluster is not merged with lab: ") and reason in note


def test_unequal_values_of_one_system_are_both_shown(two: tuple[Fabricated, Fabricated]) -> None:
    cell = next(c for c in two[1].results["cells"] if (c["set"], c["system"], c["column"]) == (SET, "clean", "stoi"))
    cell["value"] += 0.001
    one = board(merge([run(made) for made in two]))
    labels = [s.name for s in one.data.results.systems]
    assert "clean (lab)" in labels and "clean (cluster)" in labels and "clean" not in labels
    assert one.names["clean (lab)"] == "clean"
    assert one.notes[0].startswith("clean was measured twice, with unequal values in lab and cluster: stoi ")
    assert {key[2] for key in one.data.scores} >= {"clean (lab)", "clean (cluster)"}
    assert {row.system for row in one.data.rows} == set(labels)


def test_other_weights_under_one_name_are_another_system(two: tuple[Fabricated, Fabricated]) -> None:
    next(s for s in two[1].results["systems"] if s["name"] == "clean")["fingerprint"] = "e" * 64
    one = board(merge([run(made) for made in two]))
    assert "clean is not the same system in lab and cluster: weights, code or parameters differ." in one.notes


def test_many_of_one_name_are_told_in_a_line(two: tuple[Fabricated, Fabricated]) -> None:
    """A site of all checkpoints of a training: not a line for each pair of them."""
    runs = [run(two[0]), replace(run(two[1]), name="b"), replace(run(two[1]), name="c")]
    for i, one in enumerate(runs):
        systems = tuple(replace(s, fingerprint=str(i)) if s.name == "clean" else s for s in one.data.results.systems)
        runs[i] = replace(one, data=replace(one.data, results=replace(one.data.results, systems=systems)))
    notes = [note for note in board(merge(runs)).notes if note.startswith("clean")]
    assert notes == ["clean is not the same system in lab, b and c: weights, code or parameters differ."]


def test_columns_of_two_runs_stand_side_by_side(two: tuple[Fabricated, Fabricated]) -> None:
    for made, columns in ((two[0], {"stoi"}), (two[1], {"pesq.wb", "sisdr"})):
        made.results["columns"] = [c for c in made.results["columns"] if c["id"] not in columns]
        made.results["cells"] = [c for c in made.results["cells"] if c["column"] not in columns]
        made.scores = [s for s in made.scores if s["column"] not in columns]
    one = board(merge([run(made) for made in two]))
    assert {c.id for c in one.data.results.columns} >= {"stoi", "pesq.wb", "sisdr"}
    scores = next(s for key, s in one.data.scores.items() if key[2] == "clean")
    assert {"stoi", "pesq.wb"} <= set(scores), "of both runs"
    assert (SET, "clean", "stoi") in one.data.cells and (SET, "rnnoise", "stoi") not in one.data.cells


def ranked(made: Fabricated) -> RunData:
    return rank(board(merge([run(made)])).data).data


def test_differences_that_are_not_significant_are_ties(tmp_path: Path) -> None:
    data = ranked(with_protocols(fabricate(tmp_path / "run", items=24)))
    ranks = {s.name: data.cells[SET, s.name, "dnsmos.ovrl"] for s in data.results.systems}
    shown = {name: (cell.rank, cell.rank_to) for name, cell in ranks.items()}
    assert shown["metis-mini-se"] == (1, 2) and shown["metis-mini-se-lora32-without-guidance"] == (2, 3)
    assert shown["their <i>model</i> | v2"] == (1, 3), "between the two, and proved to be neither better nor worse"
    assert shown["spectral-gating"] == (4, 4)
    assert shown["rnnoise"] == (None, None), "incomplete"
    assert shown["clean"] == (None, None), "a bound"
    rows = build_boards(data)[0].ranked
    assert [row.ranks for row in rows] == ["1-2", "1-3", "2-3", "4", ""]
    assert [row.cells[0].best for row in rows] == [True, True, False, False, False]
    assert build_boards(data)[0].leaders == rows[:2]


def test_ranks_are_those_of_paired_tests(tmp_path: Path) -> None:
    """All pairs at once give what `compare` gives for one of them."""
    data = board(merge([run(with_protocols(fabricate(tmp_path / "run", items=24)))])).data
    column = data.results.columns[0]
    pair = next(p for p in rank(data).pairs[SET] if p.a == "spectral-gating" and p.b == "metis-mini-se")
    together = next(d for d in pair.differences if d.column == column.id)
    alone = paired(Side("", pair.a, data), Side("", pair.b, data), SET, column)
    assert together.p == alone.p and together.ci == pytest.approx(alone.ci) and together.worst == alone.worst
    assert together.p_holm is not None and together.p is not None and together.p_holm >= together.p
    assert pair.a == "spectral-gating" and together.verdict(0.95) == "worse" and len(together.worst) == 10


def test_few_clusters_prove_nothing(tmp_path: Path) -> None:
    data = ranked(with_protocols(fabricate(tmp_path / "run", items=24), clusters=4))
    found = build_boards(data)[0]
    assert {c.ranks for row in found.ranked for c in row.cells[:1]} == {"1-4", ""}
    tested = [c for row in found.ranked for c in row.cells if c.rank_to is not None]
    assert tested and not any(c.best for c in tested) and found.leaders == (), "the best of nothing"


ROW = PublishedRow("s", "Table 4", "paper", "DNS2020 no reverb", "Metis-SE", "fine-tune", "", ())
CELL = PublishedCell("SIG", "3.64", "3.64", 3.64, "dnsmos.sig", ("same protocol",), ())


def test_a_printed_value_is_reproduced_inside_our_interval() -> None:
    known = matching("metis-paper", ROW, "metis-se", {})
    assert known is not None

    def word(value: float | None, interval: tuple[float, float] | None, n: int = 5, cell: PublishedCell = CELL) -> str:
        return verdict(cell, "ours", known, Measured(value, interval, n, 5)).word

    assert word(3.6, (3.5, 3.7)) == word(3.6, (3.5, 3.636)) == "reproduced", "the last: when rounded"
    assert word(3.6, (3.5, 3.63)) == word(3.7, (3.65, 3.8)) == "different"
    assert word(3.644, None) == "reproduced" and word(3.65, None) == "different"
    assert word(3.6, (3.5, 3.7), 4) == word(None, None) == "not comparable"
    assert word(3.6, (3.5, 3.7), cell=replace(CELL, flags=("other items",))) == "not comparable"
    assert verdict(CELL, None, None, None).why == "no system here is this row"


def test_which_system_is_which_row() -> None:
    def match(kind: str, row: PublishedRow = ROW, **options: object) -> str | None:
        known = matching("metis-paper", row, kind, options)
        return known and known.match

    lora = replace(ROW, variant="LoRA 32")
    assert match("metis-se") == "same-checkpoint" and match("metis-se", lora) is None
    assert match("metis-se", variant="se-lora-32") is None
    assert match("metis-se", lora, variant="se-lora-32") == "same-checkpoint"
    assert match("metis-se", checkpoint="mini") == "other" and match("metis-tse") is match("rnnoise") is None
    assert match("xtts-v2", replace(ROW, system="XTTS-v2", variant="")) == "same-checkpoint", "as its manifest says"
    assert match("vevo", replace(ROW, system="Vevo", variant="")) == "different-training"
    assert matching("unknown-paper", ROW, "metis-se", {}) is None
