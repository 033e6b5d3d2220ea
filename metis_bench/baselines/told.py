"""What the commands of `metis-bench baselines` show a person, as plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from metis_bench.baselines.create import Plan
from metis_bench.baselines.importing import Brought
from metis_bench.baselines.ladder import Report
from metis_bench.baselines.manifest import Match
from metis_bench.baselines.rows import Row
from metis_bench.baselines.scaffold import Scaffold

LIKENESS: dict[Match, str] = {
    "same-checkpoint": "the same checkpoint, so the numbers should agree",
    "other-checkpoint": "another checkpoint than the paper's: not comparable",
    "different-training": "trained differently from the paper's: not comparable",
    "unknown": "not known whether it is the same",
    "no-checkpoint": "no checkpoint is public",
}
SIGNS = {"ok": "ok", "warning": "warning", "missing": "MISSING", "skipped": "skipped"}


def list_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Rows of `overview.listing` for a table."""
    return [
        {
            "name": row["name"],
            "tasks": " ".join(row["tasks"]),
            "status": row["status"],
            "here": row["state"],
            "licence of code, weights": f"{row['code']}, {row['weights']}" if row["code"] else "",
            "title": row["title"] or row["reason"],
        }
        for row in rows
    ]


def ladder(report: Report) -> str:
    """A line a rung, what mends it behind each that is missing, and the verdict."""
    lines = [f"{report.name}"]
    for row in report.rows:
        lines += _rung(row)
    missing = sum(row.status == "missing" for row in report.rows)
    if missing:
        verdict = f"not ready: {missing} missing"
    else:
        verdict = "only published numbers" if report.status == "published" else "ready"
    return "\n".join([*lines, verdict]) + "\n"


def _rung(row: Row) -> Iterator[str]:
    yield f"  {SIGNS[row.status]:<8} {row.step:<12} {row.detail}"
    if row.fix:
        yield f"           fix: {row.fix}"


def details(facts: Mapping[str, Any]) -> str:
    """All of `overview.describe`, in paragraphs."""
    return "\n".join("\n".join(part) for part in _paragraphs(facts) if part) + "\n"


def _paragraphs(facts: Mapping[str, Any]) -> Iterator[list[str]]:
    m = facts["manifest"]
    upstream, licence, io, device = m["upstream"], m["licence"], m["io"], m["device"]
    yield [f"{m['name']}: {m['title']}", f"  {' '.join(m['tasks'])}; {m['status']}; {facts['state']}"]
    yield _fields(
        upstream=f"{upstream['url']}{' at ' + upstream['commit'] if upstream['commit'] else ''}",
        package=upstream["package"],
        paper=upstream["paper"],
        licence=f"code {licence['code']}, weights {licence['weights']}",
        accept=", ".join(licence["accept"]),
        file=facts["file"],
    )
    yield _fields(
        rate=f"{io['rate']} Hz" if io["rate"] else None,
        languages=" ".join(io["languages"]),
        prompt=f"at most {io['max_prompt_s']:g} s" if io["max_prompt_s"] else None,
        transcript="of the prompt is used" if io["prompt_text"] else None,
        length="as the source's" if io["length"] == "same" else None,
        delay=f"{io['delay_ms']:g} ms, undone" if io["delay_ms"] else None,
        level=f"set by it ({io['level']})" if io["level"] != "free" else None,
        watermark="in its output" if io["watermark"] else None,
        gpu=device["gpu"] + (f", {device['vram_gb']:g} GB" if device["vram_gb"] else ""),
        determinism=m["determinism"],
    )
    yield [f"  preset {name}: {_options(options)}" for name, options in m["presets"].items()]
    yield _section("beside the paper", (_likeness(row) for row in m["paper"]))
    yield _section("notes", m["notes"])
    env = m["env"]
    needs = [f"Python {env['python']}", *facts["requirements"], *(f"(program) {tool}" for tool in env["system"])]
    if m["status"] != "published":
        yield _section("environment", needs)
        yield _section("then, in it, by hand", env["steps"])
    if m["status"] == "manual":
        yield _section("upstream's weights", map(_origin, m["weights"]))
    yield _section("on this machine", _places(facts["places"]))
    if m["status"] == "runnable":
        yield ["in metis-bench.yaml, whatever of it applies:", *(f"  {line}" for line in facts["yaml"].splitlines())]
    if m["status"] == "manual":
        yield [f"then: metis-bench baselines import {m['name']} DIR   (<item id>.wav in it)"]


def _fields(**values: str | None) -> list[str]:
    return [f"  {name:<12} {value}" for name, value in values.items() if value]


def _likeness(row: Mapping[str, Any]) -> str:
    """How far a row of the paper is this system."""
    note = f"; {row['note']}" if row["note"] else ""
    return f"{row['system']}: {LIKENESS[row['match']]}{note}"


def _options(options: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in options.items()) or "no options"


def _origin(weight: Mapping[str, Any]) -> str:
    """Where a weight file comes from, for one who runs upstream's own scripts."""
    where = (
        weight["url"] or weight["manual"] or " ".join(filter(None, [weight["hf"], weight["file"], *weight["files"]]))
    )
    return f"{weight['id']}: {where}"


def _section(title: str, lines: Any) -> list[str]:
    shown = [f"  {line}" for line in lines]
    return [f"{title}:", *shown] if shown else []


def _places(places: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for place in places:
        yield f"{'ok' if place['there'] else 'MISSING':<8} {place['what']}: {place['path']}"
        if place["fix"]:
            yield f"         fix: {place['fix']}"


def environment(plan: Plan, made: bool) -> str:
    """The commands, if they were not run, and what is left to do."""
    lines = [] if made else plan.to_json()["commands"]
    if plan.python is None:
        lines.append("# it needs no environment of its own: metis-bench's Python will do")
    elif made:
        lines.append(f"its interpreter is {plan.python}")
    if made and plan.clone:
        lines.append(f"its checkout is {plan.clone[0][-1]}")
    steps = [row for row in plan.remaining if row["what"] == "step"]
    others = [row for row in plan.remaining if row["what"] != "step"]
    if steps:
        lines += ["# by hand, in that environment:", f"source {plan.python and plan.python.with_name('activate')}"]
        lines += [row["fix"] for row in steps]
    lines += [f"# {row['what']}: {row['fix']}" for row in others]
    return "\n".join(lines) + "\n"


def fetched(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line a file or folder of weights."""
    lines = []
    for row in rows:
        lines.append(f"{row['state']:<9} {row['id']}: {row['path']}")
        lines += [f"          fix: {row['fix']}"] if row["fix"] else []
    return "\n".join(lines) + "\n"


def imported(name: str, brought: Brought) -> str:
    """What came in, and what it replaced."""
    facts = brought.provenance
    rates = ", ".join(f"{count} at {rate} Hz" for rate, count in facts["rates"].items())
    lines = [
        f"{facts['count']} files ({facts['seconds']:.1f} s; {rates}) are now {name}'s outputs, in {brought.folder}"
    ]
    if brought.replaced is not None:
        lines.append(f"they replace the {brought.replaced} files that were there")
    if facts["problems"]:
        lines.append(f"{facts['problems']} of them have problems: see provenance.json there")
    return "\n".join(lines) + "\n"


def scaffolded(made: Scaffold) -> str:
    """Where it is and the next commands."""
    lines = [f"{made.folder}: system.yaml and adapter.py, which copies its input until your model is in it", "next:"]
    if made.config:
        lines.insert(1, f"add to metis-bench.yaml, as it is not in ./baselines:  {made.config}")
    return "\n".join([*lines, *(f"  {command}" for command in made.next)]) + "\n"
