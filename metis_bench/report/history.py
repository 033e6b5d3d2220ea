"""The page of a watched folder: every checkpoint with its verdict, the newest first. One file that asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from metis_bench.report.environment import environment
from metis_bench.resources import data_dir

if TYPE_CHECKING:
    from metis_bench.watching import Entry

MARKS = {"PASS": "✓", "FAIL": "✗", "INCONCLUSIVE": "?", "INVALID": "⚠", "BROKEN": "⚠"}  # in the text's own font


def history_page(title: str, entries: Sequence[Entry]) -> str:
    """HTML; `entries` oldest first."""
    style = (data_dir("reports") / "style" / "report.css").read_text(encoding="utf-8").strip()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    text = (
        environment()
        .get_template("history.html.j2")
        .render(
            title=title,
            entries=[(entry, _report(entry)) for entry in reversed(entries)],
            marks=MARKS,
            style=style,
            policy=f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; form-action 'none'",
        )
    )
    return text + "\n"


def _report(entry: Entry) -> str | None:
    """Where its report stands, as a link from the page; None where only an absolute path would lead there."""
    if entry.run is None or Path(entry.run).is_absolute():
        return None
    return quote(f"{entry.run}/report/index.html".replace(os.sep, "/"))
