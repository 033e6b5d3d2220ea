"""Pages with panels, curves and verdicts in a browser: nothing leaves the folder, all can be read and reached."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metis_bench.files import write_atomic
from metis_bench.report.ablation import Ablation, _arm
from metis_bench.report.curves import write
from metis_bench.report.history import history_page
from metis_bench.report.site import Source, publish
from metis_bench.watching import Entry
from tests.report import browser
from tests.report.conftest import XSS
from tests.report.test_ablation import SETTINGS, arm
from tests.test_sensitivity import TEXT, spoken

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(browser.found() is None, reason="no Chromium on this machine"),
]
NAMED = f"mine {XSS}"
LABELS = ("with prompts", "without prompts", "none", "none, equal computation")  # of suites/ablations/pre-training.yaml
LEAST_PX = 10.5  # that letters of a plot are high, at any width
# letters of a drawing in pixels of the screen; and those that run into their neighbour
HEIGHTS = """[...document.querySelectorAll('.curve text')].map((t) =>
  parseFloat(getComputedStyle(t).fontSize) * t.getScreenCTM().a)"""
CLASHES = """[...document.querySelectorAll('.curve svg')].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll('text')].map((t) => t.getBoundingClientRect()).filter((b) => b.width);
  return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) =>
    a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2));
}).length"""
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with other readings, an ablation with curves and a heat map, and the history of a watched folder."""
    out = tmp_path_factory.mktemp("pages")
    curly = TEXT.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")  # an error to some normalisations
    said = {NAMED: [curly] * 12, "theirs-with-a-long-name": [TEXT] * 4 + [f"{TEXT} now"] * 8, "truth": [TEXT] * 12}
    run, heard = spoken(out / "run", said)
    publish([Source(run, lambda sha256: out / sha256, heard)], out / "site")
    tables = {f"arm-{i}": arm([-2.0 * i, -2.0 * i + 0.5, -2.0 * i - 0.4]) for i in range(4)}
    arms = [
        replace(_arm(name, (where, "wer.mini"), "lower", tables, "arm-0", 108 + 3 * i, SETTINGS), trained=10**i)
        for where in ("mini-tts", f"set {XSS}")
        for i, name in enumerate(tables)
    ]
    printed = {
        "source": "metis-paper",
        "dataset": "SeedTTS test-en",
        "system": "Metis-TTS",
        "columns": {"wer.mini": "WER"},
    }
    row = {"variant": "fine-tune", "training_data": "10K Multi.", "table": "Table 1"}
    curve = {"title": f"Pre-training {XSS}", "arms": dict(zip(LABELS, tables, strict=True))}
    shown = {"curves": [{**curve, "printed": {**printed, "rows": {LABELS[0]: row}}}], "matrix": list(tables)}
    reference = dict.fromkeys(("mini-tts", f"set {XSS}"), "arm-0")
    facts = {"stats": {"level": 0.95}, "provenance": {}}
    write(Ablation("ablation", f"Pre-training {XSS}", reference, tuple(arms), facts, shown), out / "ablation")
    entry = Entry(f"step1 {XSS}", "0" * 64, "s", "2026-11-21T00:00:00+00:00", "BROKEN", XSS)
    write_atomic(out / "history.html", history_page("checkpoints", [entry, replace(entry, verdict="PASS")]).encode())
    return out


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    with browser.Browser(tmp_path_factory.mktemp("profile")) as made:
        yield made
        assert made.logged == []
        assert all(url.startswith((folder.as_uri(), "about:", "data:")) for url in made.requested)


@pytest.mark.parametrize("name", ["site/index.html", "site/task-tts.html", "ablation/ablation.html", "history.html"])
def test_fits_every_width_and_paper(name: str, folder: Path, page: browser.Browser) -> None:
    for width in (1400, 390):
        page.size(width, 900)
        page.open((folder / name).as_uri())
        page.ask("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        assert page.ask(TOO_WIDE) <= 0, f"at {width} px, only tables scroll"
    page.size(720, 1000)  # A4 less its margins
    page.send("Emulation.setEmulatedMedia", media="print")
    page.ask("document.querySelectorAll('details').forEach((d) => { d.open = false; })")
    try:
        assert page.ask(TOO_WIDE) <= 0, "on paper nothing scrolls"
    finally:
        page.send("Emulation.setEmulatedMedia", media="")


def test_other_readings_open_and_close_by_keyboard(folder: Path, page: browser.Browser) -> None:
    page.size(1400, 900)
    page.open((folder / "site" / "task-tts.html").as_uri())
    panel = "document.querySelector('details.sensitivity')"
    page.ask(f"{panel}.querySelector('summary').focus()")
    page.press("Enter")
    page.wait(f"{panel}.open")
    page.press("Tab")
    scrolls = f"{panel}.contains(document.activeElement) || {panel}.querySelector('.scroll').scrollWidth <= innerWidth"
    assert page.ask(scrolls)
    rows = page.ask(f"[...{panel}.querySelectorAll('tbody tr')].map((r) => r.innerText)")
    assert any("mine" in row and " before " in row for row in rows), "a normalisation turns them round"
    assert page.ask(f"{panel}.querySelector('script') === null") and XSS in page.ask(f"{panel}.innerText")


def test_curves_can_be_read_at_every_width(folder: Path, page: browser.Browser) -> None:
    for width in (1400, 390):
        page.size(width, 900)
        page.open((folder / "ablation" / "ablation.html").as_uri())
        heights: list[Any] = page.ask(HEIGHTS)
        assert heights and min(heights) >= LEAST_PX, f"letters of {min(heights):.1f} px at {width}"
        assert page.ask(CLASHES) == 0, f"labels run into each other at {width} px"
    assert (
        page.ask("document.querySelectorAll('script').length") == 1
        and page.ask("document.querySelectorAll('b').length") == 0
    )
    assert page.ask("document.querySelectorAll('.heat .b1, .heat .b2, .heat .b3').length") == 6
    page.press("Tab")
    style = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.ask(style) == "solid", "the focus is seen"
