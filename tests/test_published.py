"""Published results: all values and known issues, strictly read; what they stand beside, and how far they compare."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from metis_bench import published
from metis_bench.errors import SuiteError
from metis_bench.metrics.base import MetricContext, metrics
from metis_bench.published.attach import FLAGS, Attached, PublishedCell, attach
from metis_bench.published.load import HEADER, load
from metis_bench.suite.load import load_suite
from tests.published_runs import paper, skeleton, suites

RESULTS, ISSUES = "metis_paper_results.csv", "metis_paper_known_issues.csv"
SCOPES = [
    "tts:paper",
    "tts:paper-zh",
    "tts:librispeech",
    "vc:paper",
    "vc:paper-zh",
    "tse:paper",
    "se:paper",
    "l2s:paper",
]


def attached(scope: str, *columns: str) -> Attached:
    name, _, profile = scope.partition(":")
    suite = load_suite(name, profile)
    return attach(paper(), suite, skeleton(suite, columns))


def cells(found: Attached) -> dict[tuple[str | None, str, str, str, str], PublishedCell]:
    """By set, table, system, variant and metric."""
    return {(r.set, r.table, r.system, r.variant, c.metric): c for r in found.rows for c in r.cells}


def test_all_values_are_those_that_were_extracted(shared: Path) -> None:
    source = paper().source
    with (shared / "data" / "published" / RESULTS).open(encoding="utf-8", newline="") as stream:
        theirs = [
            (*(row[key] for key in (*HEADER, "direction")), row["task"].removesuffix("-subjective"))
            for row in csv.DictReader(stream)
        ]
    ours = [
        (*v.row, v.metric, v.printed, source.metrics[v.metric].direction, source.datasets[v.dataset].task)
        for v in paper().values
    ]
    assert ours == theirs and len(ours) == 524


def test_all_issues_are_there_with_their_kinds(shared: Path) -> None:
    with (shared / "data" / "published" / ISSUES).open(encoding="utf-8", newline="") as stream:
        theirs = {row["id"]: row["kind"] for row in csv.DictReader(stream)}
    found = paper()
    assert {key: found.remarks[key].kind for key in found.issues} == theirs


def test_every_issue_has_cells_or_is_of_the_whole_paper() -> None:
    found = paper()
    assert found.issues == tuple(f"I{n:02}" for n in range(1, 25)) and len(found.values) == 524
    met = Counter(key for effects in found.effects.values() for key in effects)
    whole = {key for key, remark in found.remarks.items() if remark.whole_paper}
    assert whole == {"I20", "I21"} and set(found.remarks) == set(met) | whole
    invalid = [(v.table, v.system, v.printed) for v, effects in found.effects.items() if "invalid" in effects.values()]
    assert invalid == [("Table 7", "VoiceBox", "2.03"), ("Table 11", "WeSep", "3.39")]


def test_nothing_of_the_data_names_where_it_was_extracted_from() -> None:
    for path in published.find("metis-paper").iterdir():
        text = path.read_text(encoding="utf-8")
        assert ".txt" not in text and "seed file" not in text


def test_every_value_is_shown_by_some_suite_or_left_out_with_a_reason() -> None:
    shown: set[tuple[str, ...]] = set()
    for suite in suites():
        found = attach(paper(), suite, skeleton(suite))
        here = {(r.table, r.dataset, r.system, r.variant, r.training_data) for r in found.rows}
        values = sum(v.row in here for v in paper().values)
        assert values + sum(left.values for left in found.left_out) == 524 and all(x.reason for x in found.left_out)
        shown |= here
    assert shown == {v.row for v in paper().values}


def test_their_columns_are_those_that_the_suites_measure() -> None:
    for suite in (s for s in suites() if s.task != "omni"):  # it has one SIM for all tasks
        unmeasured = {"NISQA", "UTMOS"} if suite.profile == "paper-zh" else set()
        run = skeleton(suite)
        languages = {c.key: getattr(c.params, "lang", "en") for c in suite.corpora}
        for test_set in run["sets"]:
            context = MetricContext(test_set["task"], languages[test_set["corpus"]], ())
            able = [m for m in suite.metrics if test_set["task"] in metrics.get(m.type).tasks]
            made = {c.id for m in able for c in metrics.get(m.type)(m.params, context).columns}
            rows = [r for r in attach(paper(), suite, run).rows if r.set == test_set["id"]]
            wanted = {c.column for r in rows for c in r.cells if c.column and c.metric not in unmeasured}
            assert rows and wanted <= made, (suite.name, test_set["id"])


@pytest.mark.parametrize("scope", SCOPES)
def test_no_row_is_ranked_and_every_cell_has_a_flag(scope: str) -> None:
    found = attached(scope)
    assert found.rows and all((row.kind, row.ranked) == ("published", False) for row in found.rows)
    assert '"rank"' not in json.dumps(asdict(found))
    for row in found.rows:
        for cell in row.cells:
            assert cell.flags and set(cell.flags) <= set(FLAGS) and set(cell.notes) <= set(found.notes)
            assert cell.comparable <= (cell.value is not None and row.set is not None)


def test_the_same_protocol_is_said_of_what_is_the_same_alone() -> None:
    here = cells(attached("tts:paper"))
    ground_truth = here["seedtts-en", "Table 1", "Ground Truth", "", "WER"]
    assert (ground_truth.flags, ground_truth.column) == (("same protocol",), "wer.whisper-large-v3")
    assert here["seedtts-en", "Table 1", "Ground Truth", "", "DNSMOS"].flags == ("ambiguous",)
    assert here["seedtts-en", "Table 1", "MaskGCT", "", "SIM"].flags == ("mixed protocol",)
    assert here["seedtts-en", "Table 11", "Metis-TTS", "", "WER"].flags[:1] == ("conflict",)
    heard = here["seedtts-en", "Table 9", "VALL-E", "", "QMOS"]
    assert heard.flags == ("underspecified", "other items", "not measured here") and "I22" in heard.notes
    assert here[None, "Rebuttal R-o6KH text (inline)", "AR", "12.5 Hz tokens, H100, 10-s samples", "RTF"].column is None
    se = cells(attached("se:paper"))
    mask = se["dns2020/no_reverb", "Table 4", "MaskSR", "", "OVRL"]
    assert mask.flags == ("copied from another paper", "no public checkpoint") and not mask.comparable
    nisqa = se["dns2020/no_reverb", "Table 11", "Metis-SE", "", "NISQA"]
    assert nisqa.flags == ("same protocol", "conflict") and nisqa.notes == ("I05",)
    assert se[None, "Rebuttal R-vbjN Q8 (PESQ/ESTOI)", "Metis-SE", "", "PESQ"].flags[0] == "underspecified"


def test_what_the_run_measures_decides() -> None:
    key = ("seedtts-en", "Table 1", "Ground Truth", "", "WER")
    assert cells(attached("tts:paper", "wer.pocketsphinx"))[key].flags == ("other recogniser or encoder",)
    assert cells(attached("tts:paper", "dnsmos.avg3"))[key].flags == ("not measured here",)
    suite = load_suite("tts", "paper")
    run = skeleton(suite)
    run["sets"][0]["total"] = 1088
    partial = attach(paper(), suite, run)
    assert cells(partial)[key].flags == ("other items",)
    assert "SeedTTS test-en: this run has 10 of the set's 1088 items" in partial.why["seedtts-en"]
    for cell in run["cells"]:
        cell["status"] = "not_applicable"
    assert cells(attach(paper(), suite, run))[key].flags == ("other items", "not measured here")


def test_numbers_are_made_to_compare_and_stay_as_printed() -> None:
    sim = cells(attached("l2s:paper"))["lrs2", "Table 5", "Metis-L2S", "fine-tune", "SIM"]
    assert (sim.printed, sim.text, sim.value) == ("59.73", "0.5973", 0.5973) and "I10" in sim.notes
    voicebox = cells(attached("tts:librispeech"))["librispeech", "Table 7", "VoiceBox", "", "SIM"]
    assert (voicebox.printed, voicebox.value, voicebox.flags[0]) == ("2.03", None, "typo")
    assert "copied from another paper" in voicebox.flags and "no public checkpoint" in voicebox.flags
    pseudo = cells(attached("tse:paper"))["emiliamix", "Table 3", "Ground Truth", "", "WER"]
    assert pseudo.column == "wer.whisper-large-v3.pseudo" and "I13" in pseudo.notes


def test_pairs_of_the_same_speaker_are_the_paper_to_the_letter() -> None:
    found = attached("vc:paper")
    assert "of another one" in found.why["vctk"][0] and "as this set does" in found.why["vctk-same"][0]
    assert "seedtts-vc-en" not in found.why


def test_a_suite_says_whose(tmp_path: Path) -> None:
    assert load_suite("tts").published is None, "the mini profile has no rows of the paper"
    assert load_suite("tts", "paper").to_json()["published"] == "metis-paper"
    assert load_suite("tts", "paper", overrides=["published=null"]).published is None
    assert load_suite("tts", "mini", overrides=["published=metis-paper"]).published == "metis-paper"
    with pytest.raises(SuiteError, match=r"--set published=metis-papr: .*did you mean 'metis-paper'"):
        load_suite("tts", overrides=["published=metis-papr"])
    (tmp_path / "s.yaml").write_text("extends: suites/tts.yaml\nname: s\npublished: [metis-paper]\n")
    with pytest.raises(SuiteError, match=r"s\.yaml:3: published: "):
        load_suite(tmp_path / "s.yaml")


SOURCE = """\
title: T
cite: {Table: arXiv 0}
metrics: {WER: {direction: lower}}
datasets:
  D: {task: tts, sets: [{corpus: seedtts}], columns: {WER: null}}
"""
VALUES = "table,dataset,system,variant,training_data,metric,value\nTable 1,D,S,,,WER,1.0\n"
REMARK = "A: {kind: typo, effect: note, what: w, evidence: e, handling: h, cells: [{system: S}]}\n"
FILES = {"source.yaml": SOURCE, "values.csv": VALUES, "issues.yaml": REMARK, "remarks.yaml": REMARK.replace("A:", "B:")}


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("values.csv", "metric,value", "metric,number", r"values\.csv:1: the header must be table,"),
        ("values.csv", ",1.0", ",1.0,2", r"values\.csv:2: expected 7 fields, found 8"),
        ("values.csv", ",1.0", ",nan", r"values\.csv:2: 'nan' is not a number"),
        ("values.csv", "1,D", "1,E", r"values\.csv:2: source.yaml has no data set 'E'"),
        ("values.csv", "WER,", "WRE,", r"values\.csv:2: .*no metric 'WRE'; did you mean 'WER'"),
        ("values.csv", "Table 1,", "Figure 1,", r"values\.csv:2: .*where 'Figure 1' is to be found"),
        ("values.csv", "1.0\n", "1.0\nTable 1,D,S,,,WER,2\n", r"values\.csv:3: the same value as in line 2"),
        ("values.csv", "Table 1,D,S,,,WER,1.0\n", "", "no values"),
        ("values.csv", ",1.0", ',"1.0', r"values\.csv: cannot read the table"),
        ("source.yaml", "{WER: null}", "{}", r"source\.yaml:5: 'D' has values of WER"),
        ("source.yaml", "{WER: null}", "{WER: null, SIM: null}", r"source\.yaml:5: 'D' has no value of SIM"),
        (
            "source.yaml",
            "{WER: {direction: lower}}",
            "{WER: {direction: up}}",
            r"source\.yaml:3: metrics.WER.direction",
        ),
        ("source.yaml", "corpus: seedtts", "corpus: seedtts, items: other", r"source\.yaml:5: .*'why' must stand"),
        ("source.yaml", "lower}}", "lower}, X: {direction: lower}}", r"source\.yaml:3: no value is of the metric 'X'"),
        ("issues.yaml", "system: S", "system: Z", r"issues\.yaml:1: A: no value is meant by this: no system 'Z'"),
        ("issues.yaml", "[{system: S}]", "[{system: S}, {table: Table 1}]", r"issues\.yaml:1: A: names line 2 of"),
        ("issues.yaml", ", cells: [{system: S}]", "", r"issues\.yaml:1: A: .*either 'cells' or 'whole_paper"),
        ("issues.yaml", "kind: typo", "kind: tpyo", r"issues\.yaml:1: kind: "),
        ("issues.yaml", "kind:", "knid:", r"issues\.yaml:1: unknown key 'knid'; did you mean 'kind'|kind: field"),
        ("remarks.yaml", "B:", "A:", r"remarks\.yaml:1: 'A' stands in issues.yaml too"),
        ("remarks.yaml", REMARK.replace("A:", "B:"), "B: 1\n", r"remarks\.yaml:1: 'B' must be a mapping"),
    ],
)
def test_bad_data_is_told_with_its_place(tmp_path: Path, file: str, old: str, new: str, words: str) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    assert len(load(tmp_path).values) == 1
    assert old in FILES[file]
    (tmp_path / file).write_text(FILES[file].replace(old, new))
    with pytest.raises(SuiteError, match=words):
        load(tmp_path)


def test_unknown_results_and_missing_files_are_told(tmp_path: Path) -> None:
    assert published.names() == ["metis-paper"]
    with pytest.raises(SuiteError, match="did you mean 'metis-paper'"):
        published.find("metis-papr")
    with pytest.raises(SuiteError, match=r"source\.yaml: no such file"):
        load(tmp_path)


def test_a_suite_of_other_corpora_leaves_all_out() -> None:
    suite = load_suite("se", "mini", overrides=["published=metis-paper"])
    run: dict[str, Any] = skeleton(replace(suite, corpora=()))
    found = attach(paper(), suite, run)
    assert found.rows == () and sum(left.values for left in found.left_out) == 524


def test_every_flag_that_is_given_is_documented() -> None:
    text = (Path(__file__).parent.parent / "docs" / "published.md").read_text(encoding="utf-8")
    given = {flag for scope in SCOPES for cell in cells(attached(scope)).values() for flag in cell.flags}
    assert {flag for flag in given if f"`{flag}`" not in text} == set()
