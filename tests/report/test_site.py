"""A whole site: complete, escaped, self-contained; every printed value; and how it behaves in a browser."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from click.testing import CliRunner

from metis_bench.cli import cli
from metis_bench.errors import UsageError
from metis_bench.readings import nothing_kept
from metis_bench.report.pictures import BANDS, WAVE, WIDTH
from metis_bench.report.site import Source, load_runs, publish
from tests.published_runs import paper
from tests.report import browser
from tests.report.conftest import HOSTILE_IDS, RTL, XSS, Fabricated, fabricate, item_data, with_protocols
from tests.report.test_published import Cells, make
from tests.report.test_render import ALLOWED, Page
from tests.test_sensitivity import TEXT, spoken

SET = "dns2020-no_reverb"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two runs, one with hostile names of everything; do not change it."""
    folder = tmp_path_factory.mktemp("site")
    runs = [with_protocols(fabricate(folder / name, items=24)) for name in ("lab", f"<i>lab {RTL}")]
    runs[1].results["suite"].update(title=XSS, profile=XSS)
    runs[1].results["columns"][0].update(help=XSS)
    for run in runs[1:]:
        rename(run, "metis-mini-se", f"mine {XSS}")
        for system in run.results["systems"]:
            system["fingerprint"] = f"other {system['name']}"
    runs[0].run["resolved"] = {"systems": {"rnnoise": {"system": "rnnoise", "weights": XSS}}}
    sources = [Source(run.save().path, run.audio) for run in runs]
    return publish(sources, folder / "site", title=f"Ours {XSS}", published=["metis-paper"]).parent


def rename(made: Fabricated, old: str, new: str) -> None:
    for line in (*made.plan, *made.generations, *made.scores, *made.results["cells"], *made.results["failures"]):
        if line.get("system") == old:
            line["system"] = new
    for system in made.results["systems"]:
        system["name"] = new if system["name"] == old else system["name"]


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    return {path.name: Page(path.read_text(encoding="utf-8")) for path in sorted(site.glob("*.html"))}


def test_only_our_tags_and_nothing_inline(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        assert set(page.tags) <= ALLOWED | {"h3", "sup", "ol"}, name
        assert not [a for _, a, _ in page.attributes if a.startswith("on") or a == "style"], name
        assert len(page.ids) == len(set(page.ids)), name
        policies = [v for tag, a, v in page.attributes if (tag, a) == ("meta", "content") and v and "default-src" in v]
        assert len(policies) == 1 and "unsafe" not in policies[0] and "http" not in policies[0]


def test_every_link_is_relative_and_leads_somewhere(site: Path, pages: dict[str, Page]) -> None:
    anchors = {
        path.name: {item["anchor"] for item in item_data(site, path.stem.removeprefix("items-"))}
        for path in site.glob("items-*.html")
    }
    for name, page in pages.items():
        for url in page.urls:
            if url == "data:,":
                continue
            assert not re.match(r"[a-z]+:|/", url), url
            file, _, anchor = unquote(url).partition("#")
            assert (site / (file or name)).is_file(), url
            known = {*pages[file or name].ids, *anchors.get(file or name, ())} if (file or name) in pages else set()
            assert not anchor or anchor in known, url


def test_hostile_texts_stay_text(site: Path, pages: dict[str, Page]) -> None:
    assert f"Ours {XSS}" in pages["index.html"].text and RTL in pages["index.html"].text
    task = pages["task-se.html"]
    assert f"mine {XSS}" in task.text and "their <i>model</i> | v2" in task.text
    assert any(XSS in page.text for name, page in pages.items() if name.startswith("system-rnnoise"))
    for path in site.glob("*.html"):
        assert "<script>alert" not in path.read_text(encoding="utf-8")
    shown = [item["id"] for item in item_data(site, "wild-b-x-b")]
    assert shown == HOSTILE_IDS


def test_runs_share_leaderboards_and_systems_have_cards(pages: dict[str, Page], site: Path) -> None:
    task = pages["task-se.html"].text
    assert "clean (lab)" in task and "weights, code or parameters differ" in task
    assert re.search(r"1–\d", task), "ties are ranges"
    cards = [name for name in pages if name.startswith("system-")]
    assert len(cards) == 16
    card = next(pages[name].text for name in cards if name.startswith("system-spectral"))
    assert "dns2020/no_reverb" in card and "24/24" in card and "0123456789ab" in card and "Measured in lab" in card
    pairs = [name for name in pages if name.startswith(f"pair-{SET}-")]
    assert len(pairs) == 10 * 9 // 2
    text = "".join(pages[name].text for name in pairs)
    assert "Where it wins most" in text and "p (Holm)" in text and "no difference found" in text


def test_pictures_are_small_and_there(site: Path) -> None:
    shown = [o for item in item_data(site, SET) for _, outputs in item["systems"] for o in outputs]
    urls = {output[-1] for output in shown if output[-1]}
    assert 20 < len(urls) <= 240
    for url in urls:
        data = (site / url).read_bytes()
        assert data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) < 40_000
        assert (int.from_bytes(data[16:20]), int.from_bytes(data[20:24])) == (WIDTH, WAVE + BANDS)


def test_all_printed_values_are_in_the_pages(tmp_path: Path) -> None:
    """From the published values alone: each as printed (or as it compares), with its flag, and all footnotes."""
    folder = publish([], tmp_path / "site", published=["metis-paper"]).parent
    source = paper()
    cells: list[str] = []
    notes: set[str] = set()
    for path in sorted(folder.glob("task-*.html")):
        text = path.read_text(encoding="utf-8")
        page = Cells(text)
        cells += [f"{title.partition(' · ')[0]} {words.split()[0]}" for title, words, _ in page.cells]
        notes |= {note.split()[0] for note in page.notes.values()}
    expected = []
    for value in source.values:
        factors = [source.remarks[key].factor for key in source.effects[value]]
        shown = next((str(f * source_number(value.printed)) for f in factors if f), value.printed)
        expected.append(f"{value.table}, {source.cite(value.table)} {shown.replace('-', '−')}")
    assert len(cells) == 524 and sorted(cells) == sorted(expected)
    assert len(source.issues) == 24 and notes >= set(source.issues) - {"I20", "I21"}
    index = (folder / "index.html").read_text(encoding="utf-8")
    assert index.count("Of the whole: conflict") == 2, "I20 and I21"


def source_number(text: str) -> Any:
    from decimal import Decimal

    return Decimal(text)


def test_verdicts_stand_beside_printed_values(tmp_path: Path) -> None:
    """A run of Metis-SE on all items of DNS 2020, that has SIG as printed and BAK far from it."""
    made, _ = make(tmp_path / "run", "se:paper")
    made.results["systems"] = [{"name": "ours", "kind": "reference", "class": "metis-se", "ranked": True}]
    for cell in made.results["cells"]:
        printed = {"dns2020/no_reverb": 3.64, "dns2020/with_reverb": 3.68, "dns2020/real": 3.59}[cell["set"]]
        cell["value"] = {"dnsmos.sig": printed, "dnsmos.bak": 1.0}.get(cell["column"], 2.0)
        cell["ci"] = [cell["value"] - 0.2, cell["value"] + 0.2]
    page = (publish([Source(made.save().path, made.audio)], tmp_path / "site").parent / "task-se.html").read_text()
    row = page.partition("published · fine-tune")[2].partition("</tr>")[0]
    words = re.findall(r'<small class="verdict ([a-z-]+)">', row)
    assert words == ["different", "reproduced", "different", "different", "different"], "SIM, SIG, BAK, OVRL, NISQA"
    assert "reproduced by <bdi>ours</bdi>" in row and "different from <bdi>ours</bdi>" in row
    other = page.partition("published · LoRA 4<")[2].partition("</tr>")[0]
    assert set(re.findall(r'<small class="verdict ([a-z-]+)">', other)) == {"not-comparable"}
    assert "no system here is this row" in other
    check_printed(tmp_path / "site", {"leaderboard": SET_OF_PAPER, "task": "se"})
    check_printed(made.render(), {})


SET_OF_PAPER = "dns2020/no_reverb"


def check_printed(folder: Path, place: dict[str, str]) -> None:
    """The verdicts in results.md and published.csv, of a site as of a report."""
    rows = list(csv.DictReader(io.StringIO((folder / "published.csv").read_text(encoding="utf-8"))))
    mine = [r for r in rows if (r["set"], r["variant"], r["system"]) == (SET_OF_PAPER, "fine-tune", "Metis-SE")]
    told = {r["column"]: (r["verdict"], r["verdict_system"], r["verdict_why"]) for r in mine}
    assert told["dnsmos.sig"] == ("reproduced", "ours", "inside our interval")
    assert told["dnsmos.bak"] == ("different", "ours", "outside our interval")
    assert all(place.items() <= r.items() for r in mine)
    assert "not comparable" in {r["verdict"] for r in rows}
    markdown = (folder / "results.md").read_text(encoding="utf-8")
    assert "(same protocol; reproduced by ours)" in markdown and "(same protocol; different from ours)" in markdown
    assert "same protocol; not comparable: no system here is this row)" in markdown


def test_tables_of_a_site(site: Path) -> None:
    """All cells with leaderboard and ranks; what is hostile stays text."""
    rows = list(csv.DictReader(io.StringIO((site / "results.csv").read_text(encoding="utf-8"))))
    mine = {r["system"]: r for r in rows if (r["leaderboard"], r["column"]) == ("dns2020/no_reverb", "dnsmos.ovrl")}
    assert {r["task"] for r in rows} == {"se"} and len(mine) == 16, "as many as there are cards"
    ranges = {(int(r["rank"]), int(r["rank_to"])) for r in mine.values() if r["rank"]}
    assert any(first < last for first, last in ranges) and min(ranges)[0] == 1
    assert mine["clean (lab)"]["rank"] == "" and mine["clean (lab)"]["value"]
    markdown = (site / "results.md").read_text(encoding="utf-8")
    assert "## Speech enhancement: dns2020/no\\_reverb" in markdown and re.search(r"^\| 1-\d \|", markdown, flags=re.M)
    assert "<script" not in markdown and "weights, code or parameters differ" in markdown
    assert "# Ours" in markdown and "## Published results: metis-paper" in markdown


def test_other_readings_stand_on_the_pages(tmp_path: Path) -> None:
    """From the transcripts of two runs, each in the store of its own; without them the panel says so."""
    said = {"curly": [TEXT.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")] * 12, "plain": [f"{TEXT} now"] * 12}
    sources = []
    for name, texts in said.items():
        run, heard = spoken(tmp_path / name, {name: texts, "truth": [TEXT] * 12})
        sources.append(Source(run, {}.__getitem__, heard))

    def panel(of: list[Source]) -> str:
        page = (publish(of, tmp_path / "site").parent / "task-tts.html").read_text(encoding="utf-8")
        return page.partition('<details class="sensitivity">')[2].partition("</details>")[0]

    shown = panel(sources)
    assert "WER, normalised as hubert" in shown and "<bdi>curly</bdi>" in shown and "<bdi>plain</bdi>" in shown
    assert "not every transcript" not in shown
    assert "not every transcript is in the store" in panel([replace(s, heard=nothing_kept) for s in sources])


def without_test(made: Fabricated) -> None:
    """SI-SDR as a ratio, of which one system has nothing over nothing; two systems that share no item of DNSMOS."""
    column = next(c for c in made.results["columns"] if c["id"] == "sisdr")
    column.update(aggregate="ratio", ratio=["num", "den"])
    for score in (s for s in made.scores if s["column"] == "sisdr"):
        empty = score["system"] == "spectral-gating"
        score["detail"] = {"num": 0 if empty else score["value"], "den": 0 if empty else 1}
    kept = {"rnnoise": "clnsp0_snr0_fileid_0", "spectral-gating": "clnsp1_snr0_fileid_1"}
    made.scores = [
        s for s in made.scores if s["column"] != "dnsmos.ovrl" or kept.get(s["system"], s["item"]) == s["item"]
    ]
    for cell in made.results["cells"]:
        if (cell["system"], cell["column"]) == ("spectral-gating", "sisdr"):
            cell.update(value=None, ci=None)
        if cell["system"] in ("rnnoise", "spectral-gating") and cell["column"] == "dnsmos.ovrl":
            cell.update(status="incomplete", n=1)


def test_pairs_without_a_test(tmp_path: Path) -> None:
    """Nothing over nothing, no item in common, a single cluster: no number, no rank of what has none, a whole site."""
    made = with_protocols(fabricate(tmp_path / "run", items=24))
    without_test(made)
    folder = publish([Source(made.save().path, made.audio)], tmp_path / "site").parent
    rows = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text(encoding="utf-8"))))
    ranks = {r["system"]: r["rank_to"] for r in rows if (r["set"], r["column"]) == (SET_OF_PAPER, "sisdr")}
    assert ranks["spectral-gating"] == "" and max(filter(None, ranks.values())) == "3", "three have a value"
    pages = [path.read_text(encoding="utf-8") for path in folder.glob(f"pair-{SET}-*.html")]
    assert len(pages) == 5 * 4 // 2
    (page,) = (p for p in pages if "<bdi>spectral-gating</bdi>" in p and "<bdi>rnnoise</bdi>" in p)
    assert page.count("no item has a value on both sides") == 1
    assert not re.search(r"\b(nan|NaN|None|inf)\b", "".join(pages))
    single = with_protocols(fabricate(tmp_path / "single", items=24), clusters=1)
    folder = publish([Source(single.save().path, single.audio)], tmp_path / "other").parent
    rows = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text(encoding="utf-8"))))
    found = {(r["rank"], r["rank_to"]) for r in rows if (r["set"], r["column"]) == (SET_OF_PAPER, "stoi")}
    assert found == {("1", "4"), ("", "")}, "one cluster proves nothing: all are ties"


def test_a_run_that_is_named_twice_is_one(tmp_path: Path) -> None:
    run = fabricate(tmp_path / "lab", items=2)
    source = Source(run.save().path, run.audio)
    assert [one.name for one in load_runs([source, replace(source, folder=tmp_path / "lab" / ".." / "lab")])] == ["lab"]


def test_a_folder_that_is_no_site_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="is no site"):
        publish([], tmp_path / "mine", published=["metis-paper"])
    with pytest.raises(UsageError, match="nothing to publish"):
        publish([], tmp_path / "other")
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_command(tmp_path: Path) -> None:
    out = tmp_path / "site"
    for _ in range(2):  # the second replaces the first
        asked = ["publish", "--out", str(out), "--published", "metis-paper", "--title", "T", "--json"]
        result = CliRunner().invoke(cli, asked, standalone_mode=False)
        assert result.exception is None and json.loads(result.stdout) == {"site": str(out / "index.html")}
    assert [p.name for p in tmp_path.iterdir()] == ["site"]


@pytest.mark.long
@pytest.mark.skipif(browser.found() is None, reason="no Chromium on this machine")
def test_in_a_browser(site: Path, tmp_path: Path) -> None:
    with browser.Browser(tmp_path / "profile") as page:
        page.open(f"{(site / 'index.html').as_uri()}")
        table = f"document.querySelector('#set-{SET} table.leaderboard')"
        page.open(f"{(site / 'task-se.html').as_uri()}")
        seen = f"[...{table}.tBodies[0].rows].filter((r) => !r.hidden)"
        names = f"{seen}.map((r) => r.cells[1].firstElementChild.textContent)"
        before = page.ask(names)
        assert len(before) == 10
        # sort with the keyboard: the first head of a column is reached and pressed
        page.ask(f"{table}.querySelector('th[data-column=\"sisdr\"] button').focus()")
        page.press("Enter")
        values = f"[...{table}.tBodies[0].rows].map((r) => Number(r.cells[4].dataset.value))"
        down = page.ask(values)
        assert down == sorted(down, reverse=True) and "sort=sisdr.descending" in page.ask("location.hash")
        page.press("Enter")
        assert page.ask(values) == sorted(down) and "sort=sisdr.ascending" in page.ask("location.hash")
        # filter
        page.ask(f"document.querySelector('#set-{SET} .filter').focus()")
        for key in "gating":
            page.press(key)
        assert all("gating" in name for name in page.ask(names)) and "filter=gating" in page.ask("location.hash")
        address = page.ask("location.href")
        page.press("Escape")
        assert len(page.ask(names)) == 10
        # the address brings it back
        page.open(address)
        assert len(page.ask(names)) == 2
        assert page.ask(f"{table}.querySelector('[aria-sort]').dataset.column") == "sisdr"
        # a deep link to an item of the second page, its player, and the other keys
        item = item_data(site, SET)[-1]
        page.open(f"{(site / f'items-{SET}.html').as_uri()}#{item['anchor']}")
        page.wait("document.querySelector('.current') !== null")
        assert page.ask("document.querySelector('.current h2').textContent") == item["id"]
        assert page.ask("document.querySelectorAll('article').length") == 4
        page.ask("document.querySelector('.current .outputs .player button').focus()")
        page.press(" ")
        page.wait("document.querySelector('.current .outputs audio').currentTime > 0")
        page.press("ArrowDown")
        assert page.ask("document.activeElement.getAttribute('aria-label')").startswith(("Play", "Pause"))
        page.press("[")
        page.wait("document.querySelectorAll('article').length === 20")
        assert page.ask("[...document.images].every((i) => i.loading === 'lazy')")
        # find
        page.ask("document.getElementById('find').focus()")
        for key in "id_23":
            page.press(key)
        page.wait("document.querySelectorAll('#found a').length === 1")
        # hostile ids are text
        page.open((site / "items-wild-b-x-b.html").as_uri())
        page.wait(f"document.querySelectorAll('article').length === {len(HOSTILE_IDS)}")
        assert page.ask("[...document.querySelectorAll('article h2')].map((h) => h.textContent)") == HOSTILE_IDS
        assert page.ask("document.querySelectorAll('script').length") == 3, "two of the page, one of data"
        assert page.logged == []
        inside = site.as_uri()
        assert page.requested and all(url.startswith((inside, "about:", "data:")) for url in page.requested)
