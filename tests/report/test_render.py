"""The whole report: complete, escaped, self-contained, deterministic, replaced atomically."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from metis_bench.errors import MetisBenchError
from metis_bench.files import replace_tree
from metis_bench.report import html, render
from tests.report.conftest import HOSTILE_IDS, RTL, XSS, Fabricated, fabricate, item_data, with_protocols

VOID = {"meta", "link", "input", "br", "hr", "img"}
OUTLINE = "template noscript html head meta title link script body header main nav section article footer h1 h2 div"
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


@pytest.fixture(scope="module")
def shown(paged: Fabricated) -> list[dict[str, Any]]:
    folder = paged.path / "report"
    return [
        i for slug in ("dns2020-no_reverb", "dns2020-real_recordings", "wild-b-x-b") for i in item_data(folder, slug)
    ]


def test_files(paged: Fabricated) -> None:
    names = {path.relative_to(paged.path / "report").as_posix() for path in (paged.path / "report").rglob("*")}
    names = {name for name in names if not name.startswith("audio/")}
    sets = {"dns2020-no_reverb": 2, "dns2020-real_recordings": 1, "wild-b-x-b": 1}
    fixed = {"index.html", "results.md", "results.csv", "scores.csv", "report.css", "report.js", "items.js"}
    data = {f"data/items-{name}-{n}.js" for name, last in sets.items() for n in ("index", *range(1, last + 1))}
    assert names == fixed | {"audio", "data"} | {f"items-{name}.html" for name in sets} | data


def test_only_our_tags_ever_appear(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert set(page.tags) <= ALLOWED, name
        assert page.tags["script"] == (2 if name.startswith("items") else 1)
        policy = next(v for tag, attribute, v in page.attributes if (tag, attribute) == ("meta", "content") and v)
        assert (
            policy.startswith("default-src 'none'; script-src 'self';")
            and "unsafe" not in policy
            and "http" not in policy
        )
        assert not [a for _, a, _ in page.attributes if a.startswith("on") or a == "style"], name
        assert len(page.ids) == len(set(page.ids)), name


def test_hostile_strings_are_shown_as_they_are(pages: dict[str, Page], shown: list[dict[str, Any]]) -> None:
    names = [item["id"] for item in shown]
    assert names[-len(HOSTILE_IDS) :] == HOSTILE_IDS
    assert XSS in pages["index.html"].text and RTL in pages["index.html"].text  # links of the failures
    assert "their <i>model</i> | v2" in pages["index.html"].text
    text = json.dumps(shown, ensure_ascii=False)
    for hostile in ("their <i>model</i> | v2", "<b>birds</b>", "cannot read <the file>", "<rnnoise> crashed & burned"):
        assert hostile in text


def test_data_is_one_call_with_json_in_ascii(paged: Fabricated) -> None:
    for path in (paged.path / "report" / "data").iterdir():
        name, _, rest = path.read_bytes().decode("ascii").partition("(")
        assert name == ("metisIndex" if path.stem.endswith("index") else "metisItems")
        json.loads(f"[{rest.removesuffix(');' + chr(10))}]")


def test_every_link_is_relative_and_leads_somewhere(
    paged: Fabricated, pages: dict[str, Page], shown: list[dict[str, Any]]
) -> None:
    anchors = {item["anchor"] for item in shown}
    folder = paged.path / "report"
    for name, page in pages.items():
        for url in page.urls:
            if url == "data:,":
                continue
            assert not re.match(r"[a-z]+:|/", url), url
            file, _, anchor = unquote(url).partition("#")
            target = folder / (file or name)
            assert target.is_file(), url
            assert not anchor or anchor in pages[target.name].ids or anchor in anchors, url


def test_audio_is_all_there(paged: Fabricated, shown: list[dict[str, Any]]) -> None:
    outputs = {g["audio"]["sha256"] for g in paged.generations if g["audio"]}
    inputs = {
        clip["sha256"] for line in paged.plan for clip in line.get("audio", {}).values() if clip and "sha256" in clip
    }
    placed = [path.stem for path in (paged.path / "report" / "audio").iterdir()]
    assert sorted(placed) == sorted(outputs | inputs)
    urls = set(re.findall(r"audio/[0-9a-f]{64}\.wav", json.dumps(shown)))
    assert {Path(url).stem for url in urls} == set(placed)
    assert 'preload: "none"' in (paged.path / "report" / "items.js").read_text(encoding="utf-8")


def test_every_planned_row_has_a_player_or_a_reason(paged: Fabricated, shown: list[dict[str, Any]]) -> None:
    outputs = [output for item in shown for _, outputs in item["systems"] for output in outputs]
    failed = sum(g["status"] == "failed" for g in paged.generations)
    assert len(outputs) == sum(line["type"] == "row" for line in paged.plan)
    assert sum(bool(sound and sound[0]) for _, sound, *_ in outputs) == len(outputs) - failed
    assert [f for _, sound, f, *_ in outputs if not sound] == ["RuntimeError: <rnnoise> crashed & burned"] * failed
    inputs = sum(1 for line in paged.plan for clip in line.get("audio", {}).values() if clip and "sha256" in clip)
    assert sum(bool(sound[0]) for item in shown for _, sound, _ in item["inputs"]) == inputs


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
    for name in ("index.html", "data/items-dns2020-no_reverb-1.js", "results.md", "results.csv", "scores.csv"):
        assert not re.search(r"\b(nan|NaN|inf|Infinity|None)\b", page(name)), name


def test_seeds_get_a_row_each(shown: list[dict[str, Any]], pages: dict[str, Page]) -> None:
    for item in shown:
        seeds = {system: [output[0] for output in outputs] for system, outputs in item["systems"]}
        assert all(found == ([0, 1] if system == "metis-mini-se" else [0]) for system, found in seeds.items())
    assert "Seed" in pages["items-wild-b-x-b.html"].text


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


def test_differences_that_are_not_significant_are_ties(tmp_path: Path) -> None:
    folder = with_protocols(fabricate(tmp_path / "run", items=24)).render()
    html, markdown = ((folder / name).read_text(encoding="utf-8") for name in ("index.html", "results.md"))
    ranks = dict(re.findall(r'<td class="rank">([^<]+)</td>\s*<th scope="row" class="system"><bdi>([^<]+)', html)[:4])
    assert ranks == {
        "1–2": "metis-mini-se",
        "1–3": "their &lt;i&gt;model&lt;/i&gt; | v2",
        "2–3": "metis-mini-se-lora32-without-guidance",
        "4": "spectral-gating",
    }
    assert "| 1-2 | metis-mini-se |" in markdown and "| 4 | spectral-gating |" in markdown
    assert "Ranks like 1–2" in html and "Ranks like 1-2" in markdown
    rows = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text(encoding="utf-8"))))
    place = ("dns2020/no_reverb", "dnsmos.ovrl")
    first = {r["system"]: (r["rank"], r["rank_to"]) for r in rows if (r["set"], r["column"]) == place}
    assert first["metis-mini-se"] == ("1", "2") and first["rnnoise"] == first["clean"] == ("", "")
    assert {r["rank_to"] for r in rows if r["column"] == "rtf"} == {""}, "costs are not tested"


def test_a_column_that_ranks_nothing_has_no_ranks(tmp_path: Path) -> None:
    made = with_protocols(fabricate(tmp_path / "run", items=24))
    made.results["columns"][0]["ranked"] = False
    for cell in made.results["cells"]:
        cell["rank"] = None if cell["column"] == "dnsmos.ovrl" else cell["rank"]
    rows = csv.DictReader(io.StringIO((made.render() / "results.csv").read_text(encoding="utf-8")))
    assert {r["rank"] + r["rank_to"] for r in rows if r["column"] == "dnsmos.ovrl"} == {""}


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
        replace_tree(fresh, tmp_path / "report")

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
    text = "".join(path.read_text() for path in fabricated.render().glob("data/items-*.js"))
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
    data = page("data/items-wild-b-x-b-1.js")
    assert data.count('["n/a","it only copies a file"]') == 2 * len(HOSTILE_IDS)
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
    text = (folder / "data" / "items-dns2020-no_reverb-1.js").read_text(encoding="utf-8")
    assert "face & <b>lips.mp4 (not shown)" in text
    assert "the file is empty <0 bytes>" in text
    assert "<td>se: source, text; tts: nothing</td>" in (folder / "index.html").read_text(encoding="utf-8")
    assert not [p for p in folder.rglob("*") if p.is_file() and p.read_bytes() == b"faces"]
    keep = [re.search(r'id="keep"( checked)?', p.read_text(encoding="utf-8")) for p in sorted(folder.glob("items-*"))]
    assert [m is not None and m[1] is not None for m in keep].count(True) == 1, "aligned outputs only, set by set"
