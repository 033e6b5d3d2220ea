"""The block of published rows: every value with its flag and footnotes, no rank, no bold; markdown and exports too."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from metis_bench.errors import MetisBenchError
from metis_bench.published.attach import Attached, PublishedCell, PublishedRow, attach
from metis_bench.report.data import load_run
from metis_bench.report.published import build_block
from metis_bench.report.tables import build_boards
from metis_bench.suite.load import load_suite
from tests.published_runs import paper, skeleton
from tests.report.conftest import XSS, Fabricated

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


def make(path: Path, scope: str, results: dict[str, Any] | None = None) -> tuple[Fabricated, Attached]:
    """A run of one item a set, without outputs, that asked for the paper's results."""
    name, _, profile = scope.partition(":")
    suite = load_suite(name, profile)
    run = results or skeleton(suite, items=1)
    found = attach(paper(), suite, run)
    path.mkdir()
    made = Fabricated(path)
    made.plan = [{"type": "item", "set": s["id"], "item": "one"} for s in run["sets"]]
    made.results = {**run, "published": asdict(found)}
    made.run = {"provenance": {"created": "2026-11-21T01:02:03+00:00", "argv": ["metis-bench"]}, "seeds": [0]}
    return made, found


class Cells(HTMLParser):
    """The printed cells of a page: for each its title, its text outside of footnote numbers, and where those lead."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.cells: list[tuple[str, str, list[str]]] = []
        self.notes: dict[str, str] = {}
        self.note = ""
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def inside(self, tag: str, name: str = "", value: str = "") -> bool:
        return any(t == tag and (not name or value in (a.get(name) or "")) for t, a in self.open)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("meta", "link", "input"):
            return
        self.open.append((tag, dict(attrs)))
        if not self.inside("table", "class", "printed"):
            self.note = dict(attrs).get("id") or "" if tag == "li" else self.note
        elif tag == "td" and "absent" not in (dict(attrs)["class"] or ""):
            self.cells.append((dict(attrs).get("title") or "", "", []))
        elif tag == "a" and self.inside("sup"):
            self.cells[-1][2].append((dict(attrs)["href"] or "").removeprefix("#"))

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "link", "input"):
            self.open.pop()
        self.note = "" if tag == "li" else self.note

    def handle_data(self, data: str) -> None:
        if self.note:
            self.notes[self.note] = self.notes.get(self.note, "") + data
        if self.inside("table", "class", "printed") and self.inside("td", "title") and not self.inside("sup"):
            title, text, notes = self.cells[-1]
            self.cells[-1] = (title, text + data, notes)


def printed(found: Attached) -> list[tuple[PublishedRow, PublishedCell]]:
    """Row and cell in the order of the pages: set by set, a row's cells in the order of the metrics."""
    order = list(found.metrics)
    return [(r, c) for r in found.rows for c in sorted(r.cells, key=lambda c: order.index(c.metric))]


@pytest.mark.parametrize("scope", SCOPES)
def test_every_value_shows_its_flag_and_its_footnotes(tmp_path: Path, scope: str) -> None:
    made, found = make(tmp_path / "run", scope)
    page = Cells((made.render() / "index.html").read_text(encoding="utf-8"))
    expected = printed(found)
    assert len(page.cells) == len(expected) > 0
    for (row, cell), (title, text, anchors) in zip(expected, page.cells, strict=True):
        words = text.split()
        assert words[0] == cell.text and cell.flags[0] in " ".join(words[1:]), (row, text)
        assert title.startswith(f"{row.table}, ") and all(flag in title for flag in cell.flags)
        notes = [page.notes[anchor].split()[0] for anchor in anchors]
        assert sorted(notes) == sorted(cell.notes) and anchors == sorted(anchors, key=lambda a: int(a.split("-")[-1]))


def test_all_issues_come_up_somewhere(tmp_path: Path) -> None:
    shown: set[str] = set()
    for index, scope in enumerate(SCOPES):
        made, _ = make(tmp_path / str(index), scope)
        text = (made.render() / "results.md").read_text(encoding="utf-8")
        shown |= set(re.findall(r"^- \\\[\d+\\\] (I\d\d), ", text, flags=re.M))
        assert text.count("Of the whole: conflict") == 2  # I20 and I21
    assert shown == set(paper().issues) - {"I20", "I21"}


def test_known_cases_look_as_they_must(tmp_path: Path) -> None:
    made, _ = make(tmp_path / "run", "tts:librispeech")
    page = (made.render() / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<td class="num invalid"[^>]*>\s*<del class="value">2.03</del>.*?invalid: typo', page, flags=re.S)
    made, _ = make(tmp_path / "other", "tts:paper")
    folder = made.render()
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "read it as a band, WER 2.28 to 2.41" in page.replace("Read it", "read it")
    assert "beside label of wer.whisper-large-v3<" in page and "as printed<" in page
    assert "Published, on a set that is not stated" in page, "speed"
    markdown = (folder / "results.md").read_text(encoding="utf-8")
    assert re.search(r"\| Table 1 \| MaskGCT \| 100K Multi. \|  \| 2.47 (\\\[\d+\\\])+ \(mixed protocol\) \|", markdown)
    assert re.search(r"\| Table 1 \| Metis-TTS \| LoRA 32 · 1K Multi. \| no public checkpoint \| 4.78 ", markdown)
    made, _ = make(tmp_path / "l2s", "l2s:paper")
    page = (made.render() / "index.html").read_text(encoding="utf-8")
    assert "0.5973" in page and "printed as 59.73" in page


def test_never_ranked_never_bold_in_no_statistic(tmp_path: Path) -> None:
    made, _ = make(tmp_path / "run", "se:paper")
    folder = made.render()
    page = (folder / "index.html").read_text(encoding="utf-8")
    for table in re.findall(r'<table class="printed">.*?</table>', page, flags=re.S):
        assert not re.search(r"<strong|<b>|\bbest\b|data-rank|class=\"rank\"", table)
    data = load_run(made.path)
    for board in build_boards(data):
        names = {row.system.name for row in board.rows}
        assert board.published is not None and names == {"ours"}
    systems = {row["system"] for row in csv.DictReader(io.StringIO((folder / "results.csv").read_text()))}
    assert systems == {"ours"}
    assert all("**" not in line for line in (folder / "results.md").read_text().splitlines() if "| Table" in line)


def test_exports_carry_them_marked(tmp_path: Path) -> None:
    made, found = make(tmp_path / "run", "tse:paper")
    folder = made.render()
    rows = list(csv.DictReader(io.StringIO((folder / "published.csv").read_text(encoding="utf-8"))))
    cells = [(row, cell) for row in found.rows for cell in row.cells]
    assert len(rows) == len(cells) and {(r["kind"], r["ranked"]) for r in rows} == {("published", "False")}
    for line, (row, cell) in zip(rows, cells, strict=True):
        assert (line["system"], line["metric"], line["printed"]) == (row.system, cell.metric, cell.printed)
        assert (line["flags"], line["notes"]) == ("; ".join(cell.flags), "; ".join(cell.notes))
        assert (float(line["value"]) if line["value"] else None) == cell.value
    swapped = next(r for r in rows if r["table"] == "Table 11" and r["system"] == "WeSep" and r["printed"] == "3.39")
    assert (swapped["value"], swapped["comparable"]) == ("", "False") and swapped["flags"].startswith("typo; ")
    whole = json.loads((folder / "published.json").read_text(encoding="utf-8"))
    assert whole == json.loads(json.dumps(made.results["published"]))
    assert {(row["kind"], row["ranked"]) for row in whole["rows"]} == {("published", False)}


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    made, _ = make(tmp_path / "run", "tts:paper")
    folder = made.render()
    for name in ("index.html", "results.md"):
        text = (folder / name).read_text(encoding="utf-8").replace("\\", "")
        assert re.search(r"no set of this run stands for it: SeedTTS test-zh \(46 values\), LibriSpeech", text)
        assert re.search(r"of another task \(vc\): VCTK \(41 values\)", text)


def test_a_run_without_them_has_nothing_of_it(fabricated: Fabricated) -> None:
    folder = fabricated.render()
    assert not list(folder.glob("published.*"))
    assert not re.search(r'class="(published|printed)"|published\.csv|Published', (folder / "index.html").read_text())
    assert build_block(load_run(fabricated.path), None) is None


def test_hostile_texts_are_shown_as_they_are(tmp_path: Path) -> None:
    made, _ = make(tmp_path / "run", "se:paper")
    published = made.results["published"]
    first = published["rows"][0]
    first.update(system=XSS, variant=XSS, table=f"{XSS}|", cite=XSS)
    published["notes"]["I12"]["what"] = XSS
    published["title"] = XSS
    folder = made.render()
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page and page.count("&lt;script&gt;alert(1)") >= 5
    markdown = (folder / "results.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    for block in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.M):
        assert len({len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    made, _ = make(tmp_path / "run", "se:paper")
    made.results["published"]["rows"][0]["set"] = "nowhere"
    with pytest.raises(MetisBenchError, match="a published row names an unknown set: nowhere"):
        load_run(made.save().path)
    made.results["published"]["rows"][0].update(set=None, ranked=True)
    with pytest.raises(MetisBenchError, match=r"published\.rows\.0\.ranked"):
        load_run(made.save().path)
