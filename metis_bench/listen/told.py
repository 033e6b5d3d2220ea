"""Results of a listening test as markdown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from metis_bench.report.exports import escape

NAMES = {"qmos": "QMOS", "smos": "SMOS", "cmos": "CMOS"}


def to_json(found: Mapping[str, Any]) -> str:
    """Indented; NaN is refused."""
    return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def to_markdown(found: Mapping[str, Any]) -> str:
    """Scores, differences, anchors, who was left out, and by which rules."""
    name, raters = NAMES[found["kind"]], found["raters"]
    level = f"{100 * found['stats']['level']:g} % interval"
    lines = [f"# {name}, listening test {found['test']}", ""]
    if found["kind"] == "cmos":
        lines += [f"Against {escape(found['reference'])}: positive means better than it, on -3..3.", ""]
    lines += [f"{raters['kept']} raters count, of {raters['files']} files ({raters['usable']} usable).", ""]
    lines += [
        f"| system | {name} | {level} | raters | items | ratings | without exclusion |",
        "|---|--:|:-:|--:|--:|--:|--:|",
    ]
    for row in found["systems"]:
        before = row["without_exclusion"]
        counts = f"{row['raters']} | {row['items']} | {row['ratings']}"
        whole = f"{_number(before['mean'])} ({before['raters']} raters)"
        lines.append(f"| {escape(row['system'])} | {_number(row['mean'])} | {_ci(row)} | {counts} | {whole} |")
    if found["differences"]:
        lines += ["", f"## Differences to {escape(found['against'])}", "", f"| system | difference | {level} | |"]
        lines.append("|---|--:|:-:|---|")
        for row in found["differences"]:
            verdict = {True: "differs", False: "not told apart", None: ""}[row["differs"]]
            lines.append(f"| {escape(row['system'])} | {_number(row['difference'], '+')} | {_ci(row)} | {verdict} |")
        lines += ["", "Not corrected for the number of comparisons."]
    anchors = [a for a in found["anchors"] if a["ratings"]]
    if anchors:
        lines += ["", "## Anchors", ""]
        lines += [f"* {a['anchor']}: {_number(a['mean'])} ({a['ratings']} ratings)" for a in anchors]
    lines += ["", "## Who counts", "", *(f"* {rule}" for rule in found["rules"])]
    if found["excluded"]:
        lines += ["", "| left out | why |", "|---|---|"]
        lines += [f"| {escape(e['rater'])} | {escape(e['reason'])} |" for e in found["excluded"]]
    method = found["stats"]
    lines += ["", f"Intervals: {method['method']}, {method['resamples']} draws, seed {method['seed']}."]
    return "\n".join(lines) + "\n"


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.2f}"


def _ci(row: Mapping[str, Any]) -> str:
    if row["ci"] is None:
        return str(row["note"] or "-")
    return f"{row['ci'][0]:.2f} to {row['ci'][1]:.2f}"
