"""The whole report: complete, escaped, self-contained, deterministic, replaced atomically."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from metis_bench import report
from metis_bench.errors import MetisBenchError
from metis_bench.report import html, render
from tests.report.conftest import HOSTILE_IDS, RTL, SYSTEMS, XSS, Fabricated

VOID = {"meta", "link", "input", "br", "hr", "img"}
OUTLINE = "html head meta title link script body header main nav section article footer h1 h2 div"
TEXT = "p a ul li strong small span bdi code pre kbd ins del blockquote time dl dt dd details summary figure figcaption"
WIDGETS = "table thead tbody tr th td button label input audio svg line text g circle rect"
ALLOWED = {*OUTLINE.split(), *TEXT.split(), *WIDGETS.split()}


class Page(HTMLParser):
    """Tags, links, ids and visible text of a page; fails on tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.urls: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.urls += [value for name, value in attrs if name in ("href", "src") and value]
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def pages(paged: Fabricated) -> dict[str, Page]:
    folder = paged.path / "report"
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.html"))}


def test_files(paged: Fabricated) -> None:
    names = {path.name for path in (paged.path / "report").iterdir()}
    sets = {"dns2020-no_reverb-1", "dns2020-no_reverb-2", "dns2020-real_recordings-1", "wild-b-x-b-1"}
    fixed = {"index.html", "results.md", "results.csv", "scores.csv", "report.css", "report.js", "audio"}
    assert names == fixed | {f"items-{name}.html" for name in sets}


def test_only_our_tags_ever_appear(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert set(page.tags) <= ALLOWED, name
        assert page.tags["script"] == 1
        assert not [a for _, a, _ in page.attributes if a.startswith("on") or a == "style"], name
        assert len(page.ids) == len(set(page.ids)), name


def test_hostile_strings_are_shown_as_they_are(pages: dict[str, Page]) -> None:
    page = pages["items-wild-b-x-b-1.html"]
    for item in HOSTILE_IDS:
        assert item in page.text
    assert XSS in pages["index.html"].text and RTL in pages["index.html"].text  # links of the failures
    assert "their <i>model</i> | v2" in page.text and "<b>birds</b>" in page.text
    assert "cannot read <the file>" in page.text and "<rnnoise> crashed & burned" in page.text


def test_every_link_is_relative_and_leads_somewhere(paged: Fabricated, pages: dict[str, Page]) -> None:
    folder = paged.path / "report"
    for name, page in pages.items():
        for url in page.urls:
            if url == "data:,":
                continue
            assert not re.match(r"[a-z]+:|/", url), url
            file, _, anchor = unquote(url).partition("#")
            target = folder / (file or name)
            assert target.is_file(), url
            assert not anchor or anchor in pages[target.name].ids, url


def test_audio_is_lazy_and_all_there(paged: Fabricated, pages: dict[str, Page]) -> None:
    audio = [page.tags["audio"] for page in pages.values()]
    lazy = [v for page in pages.values() for tag, name, v in page.attributes if (tag, name) == ("audio", "preload")]
    assert sum(audio) == len(lazy) > 0 and set(lazy) == {"none"}
    outputs = {g["audio"]["sha256"] for g in paged.generations if g["audio"]}
    inputs = {
        clip["sha256"] for line in paged.plan for clip in line.get("audio", {}).values() if clip and "sha256" in clip
    }
    placed = [path.stem for path in (paged.path / "report" / "audio").iterdir()]
    assert sorted(placed) == sorted(outputs | inputs)


def test_every_planned_row_has_a_player_or_a_reason(paged: Fabricated, pages: dict[str, Page]) -> None:
    rows = sum(line["type"] == "row" for line in paged.plan)
    inputs = sum(1 for line in paged.plan for clip in line.get("audio", {}).values() if clip and "sha256" in clip)
    failed = sum(g["status"] == "failed" for g in paged.generations)
    players = sum(page.tags["audio"] for name, page in pages.items() if name.startswith("items"))
    assert players == rows - failed + inputs
    shown = sum(page.text.count("✗ RuntimeError: <rnnoise>") for page in pages.values())
    assert shown == failed > 0


def test_summary_is_honest(pages: dict[str, Page], paged: Fabricated) -> None:
    rows = sum(line["type"] == "row" for line in paged.plan)
    failed = sum(g["status"] == "failed" for g in paged.generations)
    text = pages["index.html"].text
    for fact in (f"{rows - failed}/{rows} outputs generated", "1 oracle check violated", "1/3 oracle checks passed"):
        assert fact in text
    missing = sum(score["status"] != "ok" for score in paged.scores)
    assert f"{failed} failed outputs" in text and f"{missing} missing scores of bounds and oracles" in text
    assert "partial: 24 of 150 official items" in text


def test_nan_and_none_never_appear(page: Callable[[str], str]) -> None:
    for name in ("index.html", "items-dns2020-no_reverb-1.html", "results.md", "results.csv", "scores.csv"):
        assert not re.search(r"\b(nan|NaN|inf|Infinity|None)\b", page(name)), name


def test_seeds_get_a_row_each(pages: dict[str, Page]) -> None:
    spans = [v for _, name, v in pages["items-wild-b-x-b-1.html"].attributes if name == "rowspan"]
    assert spans.count("2") == len(HOSTILE_IDS)
    assert spans.count("1") == len(HOSTILE_IDS) * (len(SYSTEMS) - 1)


def test_csv_is_the_cells(page: Callable[[str], str], paged: Fabricated) -> None:
    rows = list(csv.DictReader(io.StringIO(page("results.csv"))))
    assert len(rows) == len(paged.results["cells"])
    for row, cell in zip(rows, paged.results["cells"], strict=True):
        assert (row["set"], row["system"], row["column"]) == (cell["set"], cell["system"], cell["column"])
        assert (float(row["value"]) if row["value"] else None) == cell["value"]
        assert (float(row["ci_high"]) if row["ci_high"] else None) == (cell["ci"] and cell["ci"][1])
        assert (row["n"], row["N"], row["status"]) == (str(cell["n"]), str(cell["N"]), cell["status"])
    scores = list(csv.DictReader(io.StringIO(page("scores.csv"))))
    assert len(scores) == len(paged.scores) and {row["item"] for row in scores} >= set(HOSTILE_IDS)


def test_markdown_tables_hold_together(page: Callable[[str], str]) -> None:
    text = page("results.md")
    assert "<" not in re.sub(r"\\<", "", text) and r"their &lt;i&gt;model&lt;/i&gt; \| v2" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.M):
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert "(22/24; penalised" in text and "**VIOLATED**" in text and "24 items of 150 official ones" in text


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_deterministic_and_replaces_the_old_one(fabricated: Fabricated) -> None:
    report = fabricated.render()
    first = snapshot(report)
    (report / "stale.html").write_text("old")
    left = fabricated.path / ".report.123.abcdef"  # by a killed render
    (left / "audio").mkdir(parents=True)
    os.utime(left, (0, 0))
    assert snapshot(fabricated.render()) == first
    assert folders(fabricated) == ["report"]


def folders(fabricated: Fabricated) -> list[str]:
    """The report, and whatever a render may have left beside it."""
    return sorted(p.name for p in fabricated.path.iterdir() if p.name.startswith((".", "report")))


def test_a_render_leaves_the_folder_of_another_one_alone(fabricated: Fabricated) -> None:
    other = fabricated.path / ".report.123.abcdef"
    other.mkdir()
    fabricated.render()
    assert folders(fabricated) == [".report.123.abcdef", "report"]


def test_many_renders_at_once(fabricated: Fabricated) -> None:
    first = snapshot(fabricated.render())
    with ThreadPoolExecutor(4) as pool:
        for job in [pool.submit(render, fabricated.path, fabricated.audio) for _ in range(8)]:
            assert job.result() == fabricated.path / "report" / "index.html"
    assert folders(fabricated) == ["report"] and snapshot(fabricated.path / "report") == first


def test_many_swaps_at_once(tmp_path: Path) -> None:
    """The same without the work in between, where they meet all the time: the last one wins."""

    def put(index: int) -> None:
        fresh = tmp_path / f"fresh-{index}"
        fresh.mkdir()
        (fresh / "index.html").write_text(str(index))
        report._swap(fresh, tmp_path / "report")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(400)))
    assert [p.name for p in tmp_path.iterdir()] == ["report"]
    put(1000)
    assert (tmp_path / "report" / "index.html").read_text() == "1000"


def test_a_failed_render_leaves_the_old_report(fabricated: Fabricated, monkeypatch: pytest.MonkeyPatch) -> None:
    before = snapshot(fabricated.render())

    def broken(*_: object) -> None:
        raise MetisBenchError("disk full")

    monkeypatch.setattr(html, "write_index", broken)
    with pytest.raises(MetisBenchError, match="disk full"):
        fabricated.render()
    assert snapshot(fabricated.path / "report") == before and folders(fabricated) == ["report"]


def test_missing_outputs_and_rows_are_notes(fabricated: Fabricated) -> None:
    gone, never = fabricated.generations[0], fabricated.generations.pop()
    fabricated.store.pop(gone["audio"]["sha256"])
    text = "".join(path.read_text() for path in fabricated.render().glob("items-*.html"))
    assert text.count("audio not available (not in the store)") == 1
    assert text.count("not generated") == 1 and never["status"] == "ok"


def test_the_level_of_the_intervals_is_named_everywhere(pages: dict[str, Page], page: Callable[[str], str]) -> None:
    text = page("index.html")
    assert "95" + " %" not in text + page("results.md")
    assert "Brackets: 60 % interval." in pages["index.html"].text and "Brackets: 60 % interval." in page("results.md")
    labels = [v for tag, name, v in pages["index.html"].attributes if (tag, name) == ("svg", "aria-label")]
    assert labels and all(label and "with its 60 % interval" in label for label in labels)
    rows = list(csv.DictReader(io.StringIO(page("results.csv"))))
    assert {(bool(row["ci_low"]), row["ci_level"]) for row in rows} == {(True, "0.6"), (False, "")}


def test_oracle_checks_over_fewer_items_say_so(pages: dict[str, Page], page: Callable[[str], str]) -> None:
    rows = [line for line in page("results.md").splitlines() if re.match(r"\| (passed|\*\*VIO|not checked)", line)]
    shown = [re.findall(r"\((\d+ items?)\)", line) for line in rows]
    assert shown == [["3 items"], [], ["0 items"]]  # 3 of 24, all 24, none
    block = page("index.html").partition('id="oracles"')[2].partition("</section>")[0]
    assert re.findall(r'<span class="side">(\d+ items?)</span>', block) == ["3 items", "0 items"]


def test_costs_of_copies_are_not_applicable_everywhere(pages: dict[str, Page], page: Callable[[str], str]) -> None:
    assert re.search(r"^\| – \| clean \|.*\| n/a \|", page("results.md"), flags=re.M)
    cells = re.findall(
        r'<td class="num missing[^>]*title="it only copies a file">n/a</td>', page("items-wild-b-x-b-1.html")
    )
    assert len(cells) == 2 * len(HOSTILE_IDS)
    row = next(
        r for r in csv.DictReader(io.StringIO(page("results.csv"))) if (r["system"], r["column"]) == ("clean", "rtf")
    )
    assert (row["status"], row["value"], row["n"], row["N"]) == ("not_applicable", "", "0", "0")


def test_a_video_is_named_and_never_copied(fabricated: Fabricated) -> None:
    clip = fabricated.path.parent / "corpus" / "face & <b>lips.mp4"
    clip.write_bytes(b"faces")
    items = [line for line in fabricated.plan if line["type"] == "item"]
    items[0]["video"] = {"path": str(clip), "sha256": "0" * 64}
    items[1]["video"] = {"path": str(clip), "error": "the file is empty <0 bytes>"}
    for test_set in fabricated.results["sets"]:
        test_set["task"] = "se" if test_set["id"] == items[0]["set"] else "tts"
    fabricated.results["systems"][0]["reads"] = {"se": ["source", "text"], "tts": []}
    folder = fabricated.render()
    text = (folder / "items-dns2020-no_reverb-1.html").read_text(encoding="utf-8")
    assert "face &amp; &lt;b&gt;lips.mp4 (not shown)" in text
    assert "the file is empty &lt;0 bytes&gt;" in text
    assert "<td>se: source, text; tts: nothing</td>" in (folder / "index.html").read_text(encoding="utf-8")
    assert not [p for p in folder.rglob("*") if p.is_file() and p.read_bytes() == b"faces"]
    keep = [re.search(r'id="keep"( checked)?', p.read_text(encoding="utf-8")) for p in sorted(folder.glob("items-*"))]
    assert [m is not None and m[1] is not None for m in keep].count(True) == 1, "aligned outputs only, set by set"


def test_page_numbers() -> None:
    assert html.page_numbers(1, 1) == [1]
    assert html.page_numbers(6, 12) == [1, None, 4, 5, 6, 7, 8, None, 12]
    assert html.page_numbers(12, 12) == [1, None, 10, 11, 12]
