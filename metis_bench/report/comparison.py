"""Comparisons and gates as text: markdown for a pull request, JSON, and JUnit for a CI server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from xml.etree import ElementTree

from metis_bench.comparison import Comparison, Difference
from metis_bench.gating import Check, Gate

SHOWN = 5  # items listed under a table
MARKS = {"PASS": "✅", "FAIL": "❌", "INCONCLUSIVE": "❓", "INVALID": "⚠️"}
TOLD = (
    "Differences are paired, item by item. Intervals hold {:g} % (clusters of items resampled); p by flipping signs "
    "of clusters, Holm over this table. detectable: the true difference that such a test finds four times out of five."
)
HEADS = (
    ("set", "column", "a", "b", "a − b", "interval", "p", "p (Holm)", "pairs", "detectable", "verdict"),
    ("", "system", "set", "column", "baseline", "candidate", "worse by", "bounds", "margin", "verdict"),
)


def comparison_json(found: Sequence[Comparison]) -> list[dict[str, object]]:
    """All of them, each difference with its verdict."""
    return [
        {
            **asdict(one),
            "differences": [{**asdict(d), "verdict": d.verdict(one.level)} for d in one.differences],
        }
        for one in found
    ]


def comparison_markdown(found: Sequence[Comparison]) -> str:
    """A table a pair, what could not be compared, and the items that `a` loses most at."""
    lines: list[str] = []
    for one in found:
        lines += [f"## {_safe(one.a)} against {_safe(one.b)}", "", *_table(HEADS[0])]
        lines += [_difference(d, one.level) for d in one.differences if d.refused is None]
        lines += ["", TOLD.format(100 * one.level)]
        lines += [f"- {_where(d)}: not compared: {_safe(d.refused)}" for d in one.differences if d.refused is not None]
        worse = [d for d in one.differences if d.verdict(one.level) == "worse"]
        lines += [line for d in worse for line in ("", f"{_where(d)}, where it loses most:", *_items(d))]
        lines.append("")
    return "\n".join(lines)


def _table(heads: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]


def _difference(d: Difference, level: float) -> str:
    numbers = [_number(d.a), _number(d.b), _number(d.difference, "+"), _interval(d.ci), p_text(d.p), p_text(d.p_holm)]
    cells = [_safe(d.set), _safe(d.column), *numbers, f"{d.pairs}/{d.planned}", _number(d.detectable), d.verdict(level)]
    return f"| {' | '.join(cells)} |"


def _where(d: Difference) -> str:
    return f"{_safe(d.set)}, {_safe(d.column)}"


def _items(d: Difference) -> list[str]:
    return [f"- {_safe(item.item)}: {item.a:.4g}, and {item.b:.4g}" for item in d.worst[:SHOWN]]


def _number(value: float | None, sign: str = "") -> str:
    return "" if value is None else f"{value:{sign}.4g}"


def _interval(ci: tuple[float, float] | None) -> str:
    return "" if ci is None else f"{ci[0]:+.3g} … {ci[1]:+.3g}"


def p_text(value: float | None) -> str:
    """A p value, never 0."""
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _safe(text: str) -> str:
    """Names come from files: they may not end a cell, or be markup."""
    return "".join(f"&#{ord(c)};" if c in "|<>`*_[]\\&" else " " if c in "\r\n" else c for c in text)


def gate_json(found: Gate) -> dict[str, object]:
    """All of it, with the exit code."""
    return {**asdict(found), "exit_code": found.exit_code}


def gate_markdown(found: Gate) -> str:
    """The verdict, then every check, the gravest first."""
    lines = [f"## {MARKS[found.verdict]} {found.verdict}: {_safe(found.candidate)} against {_safe(found.baseline)}", ""]
    lines += [f"- {_safe(problem)}" for problem in found.problems] + ([""] if found.problems else [])
    lines += _table(HEADS[1])
    order = list(MARKS)[::-1]
    for check in sorted(found.checks, key=lambda c: (order.index(c.verdict), c.set, c.column)):
        values = [_number(check.baseline), _number(check.candidate), _number(check.loss, "+"), _interval(check.bounds)]
        cells = [MARKS[check.verdict], _safe(check.system), _safe(check.set), _safe(check.column), *values]
        lines.append(f"| {' | '.join([*cells, f'{check.margin:g}', f'{check.verdict}: {_safe(check.reason)}'])} |")
    return "\n".join(lines) + "\n"


def gate_junit(found: Gate) -> bytes:
    """One test case a check: FAIL fails, INVALID is an error, INCONCLUSIVE is skipped."""
    root = ElementTree.Element("testsuites")
    kinds = {"FAIL": "failure", "INVALID": "error", "INCONCLUSIVE": "skipped"}
    counts = {kind: sum(c.verdict == verdict for c in found.checks) for verdict, kind in kinds.items()}
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=_xml(f"{found.candidate} against {found.baseline}"),
        tests=str(len(found.checks) + len(found.problems)),
        failures=str(counts["failure"]),
        errors=str(counts["error"] + len(found.problems)),
        skipped=str(counts["skipped"]),
    )
    for problem in found.problems:
        case = ElementTree.SubElement(suite, "testcase", classname="run", name="seal")
        ElementTree.SubElement(case, "error", message=_xml(problem))
    for check in found.checks:
        _case(suite, check, kinds.get(check.verdict))
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data


def _case(suite: ElementTree.Element, check: Check, kind: str | None) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=_xml(check.system), name=_xml(f"{check.set} {check.column}")
    )
    if kind is None:
        ElementTree.SubElement(case, "system-out").text = _xml(check.reason)
    else:
        ElementTree.SubElement(case, kind, message=_xml(check.reason))


def _xml(text: str) -> str:
    """Without the characters that XML 1.0 has no way to write."""
    return "".join(
        c if c in "\t\n\r" or (c >= " " and not "\ud800" <= c <= "\udfff" and c < "\ufffe") else "?" for c in text
    )
