"""What the commands show a person: tables on stdout, progress on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from metis_bench.engine.fetch import Wanted
from metis_bench.engine.prepare import Prepared
from metis_bench.engine.progress import Progress as ProgressCallback
from metis_bench.engine.run import RunResult
from metis_bench.report.tables import number

out = Console()
err = Console(stderr=True)


RATE_S = 1800.0  # what is left is told from how fast work went for so long: one item may take minutes


@contextmanager
def progress() -> Iterator[ProgressCallback]:
    """A callback (what, done, total, share of the work) that draws one bar a system and one for the scores, on stderr.

    Bars and the time that is left go by the share. The first step of a bar does not count: loading is in it.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, speed_estimate_period=RATE_S) as bars:
        tasks: dict[str, Any] = {}

        def update(what: str, done: int, total: int, share: float | None = None, /) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(escape(what), total=1.0, count="")
            if share is None or done >= total:
                share = done / total if total else 1.0
            bars.update(tasks[what], completed=share, count=f"{done}/{total}")

        yield update


def say(line: str) -> None:
    """A line on stderr, above the bars."""
    err.print(line, markup=False, highlight=False, soft_wrap=True)


def show_results(result: RunResult) -> None:
    """Leaderboards of the headline columns, checks and failures, then where the report is."""
    data = result.results
    cells = {(c["set"], c["system"], c["column"]): c for c in data["cells"]}
    for test_set in data["sets"]:
        shown = _shown(data["columns"], [c for c in data["cells"] if c["set"] == test_set["id"]])
        table = Table(title=escape(f"{test_set['id']}  ({test_set['items']} items)"), title_justify="left")
        table.add_column("system", no_wrap=True)
        table.add_column("kind", no_wrap=True)
        for column in shown:
            arrow = "↑" if column["direction"] == "higher" else "↓"
            table.add_column(f"{escape(column['label'])} {arrow}", justify="right")
        for system in data["systems"]:
            row = [_cell(cells.get((test_set["id"], system["name"], c["id"])), c) for c in shown]
            if any(x != "n/a" for x in row):
                table.add_row(escape(system["name"]), system["kind"], *row)
        out.print(table)
    for warning in data["warnings"]:
        out.print(f"[yellow]warning:[/] {escape(warning)}", soft_wrap=True)
    _show_checks(data["oracle_checks"])
    ranked = {s["name"] for s in data["systems"] if s["ranked"]}
    _show_failures([f for f in data["failures"] if f["status"] == "failed" or f["system"] in ranked])
    out.print(f"report: {result.report}", soft_wrap=True, highlight=False, markup=False)


def _shown(columns: Sequence[Mapping[str, Any]], cells: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Headline columns that apply to a set; every one that applies where no headline does."""
    applicable = {c["column"] for c in cells if c["status"] != "not_applicable"}
    able = [c for c in columns if c["id"] in applicable]
    return [c for c in able if c["headline"]] or able


def _cell(cell: Mapping[str, Any] | None, column: Mapping[str, Any]) -> str:
    if cell is None or cell["status"] == "not_applicable":
        return "n/a"
    text = "–" if cell["value"] is None else number(cell["value"], column["decimals"])
    return text if cell["n"] == cell["N"] else f"{text} ({cell['n']}/{cell['N']})"


def _show_checks(checks: Sequence[Mapping[str, Any]]) -> None:
    done = [c for c in checks if c["ok"] is not None]
    for c in done:
        if not c["ok"]:
            text = (
                f"{c['set']}: {c['better']} ({c['better_value']:.4g}) must beat {c['worse']} ({c['worse_value']:.4g})"
            )
            out.print(f"[red]oracle order violated:[/] {escape(c['column'])} on {escape(text)}", soft_wrap=True)
    if done:
        out.print(f"oracle order: {sum(c['ok'] for c in done)} of {len(done)} checks hold")


def _show_failures(failures: Sequence[Mapping[str, Any]], limit: int = 10) -> None:
    """One line a (system, set, column, reason), with how many items it befell and the first of them."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for f in failures:
        kind = (f["status"], f["system"], f["set"], f["column"] or "generation", str(f["reason"]))
        groups.setdefault(kind, []).append(f["item"])
    for (status, system, test_set, column, reason), items in list(groups.items())[:limit]:
        which = items[0] if len(items) == 1 else f"{items[0]} and {len(items) - 1} more"
        text = f"{system} on {test_set}, {column}, {which}: {reason}"
        out.print(f"[red]{status}:[/] {escape(text)}", soft_wrap=True)
    if len(groups) > limit:
        out.print(f"... and {len(groups) - limit} more reasons; all of them are in the report")


def duration(seconds: float | None) -> str:
    """Seconds for people: '42 s', '3.1 min', '2.5 h'."""
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def show_plan(prepared: Prepared, cells: Sequence[Mapping[str, Any]], scoring_s: float | None) -> None:
    """One table a set with a line a system, then the sums, what is blocked and how to unblock it."""
    for test_set in prepared.plan.sets:
        _plan_table(test_set.id, [c for c in cells if c["set"] == test_set.id])
    todo = sum(c.get("to_run", 0) for c in cells)
    hours = sum(c.get("hours", 0.0) for c in cells)
    known = [c["estimate_s"] for c in cells if c.get("to_run") and c["estimate_s"] is not None]
    unknown = sum(1 for c in cells if c.get("to_run") and c["estimate_s"] is None)
    generating = f"{'at least' if unknown else 'about'} {duration(sum(known))}" if known or not todo else "unknown"
    scoring = "unknown" if scoring_s is None else f"about {duration(scoring_s)}"
    tail = f" ({unknown} of {len(known) + unknown} cells never timed)" if unknown else ""
    out.print(f"{len(prepared.plan.rows)} rows, {todo} to generate ({hours:.3f} h of audio)")
    out.print(f"generating: {generating}{tail}; scoring what is generated: {scoring}")
    for w in prepared.plan.warnings():
        out.print(f"[yellow]warning:[/] {escape(w)}", soft_wrap=True)
    for b in prepared.blocked:
        without = " (runs go on without it)" if b.what == "metric" else ""
        out.print(f"[red]blocked {b.what} '{escape(b.name)}'{without}:[/] {escape(b.reason)}", soft_wrap=True)
        if b.fix:
            out.print(f"  fix: {b.fix}", markup=False, soft_wrap=True)


def _plan_table(title: str, cells: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title=escape(title), title_justify="left")
    for name in ("system", "state", "cached", "to run", "audio h", "estimate"):
        text = name in ("system", "state")
        table.add_column(name, justify="left" if text else "right", no_wrap=name == "system")
    for c in cells:
        if c["status"] == "not_applicable":
            table.add_row(escape(c["system"]), f"n/a: {escape(c['reason'])}", "", "", "", "")
            continue
        state = {"cached": "cached", "to_run": "to run", "blocked": "[red]blocked[/]"}[c["status"]]
        if c["broken"]:
            state += f", [red]{c['broken']} broken inputs[/]"
        estimate = duration(c["estimate_s"]) if c["to_run"] else ""
        table.add_row(escape(c["system"]), state, str(c["cached"]), str(c["to_run"]), f"{c['hours']:.3f}", estimate)
    out.print(table)


def show_downloads(files: Sequence[Wanted]) -> None:
    """What would be fetched, from where, under which licence, and where to: on stderr, as a question follows."""
    total = sum(w.fetch.file.size for w in files)
    err.print(f"to download ({total / 1e6:,.1f} MB):", highlight=False)
    for w in files:
        file = w.fetch.file
        what = f"{', '.join(w.corpora)}: {file.size / 1e6:,.1f} MB, {file.licence}"
        err.print(f"  {escape(what)}\n    {escape(file.url)}\n    into {escape(str(w.fetch.folder))}", soft_wrap=True,
                  highlight=False)  # fmt: skip


def show_corpora(report: Mapping[str, Any]) -> None:
    """Counts and problems of each set."""
    table = Table(title="corpora", title_justify="left")
    for name in ("set", "items", "official", "audio files", "hours", "problems"):
        table.add_column(name, justify="left" if name == "set" else "right")
    for s in report["sets"]:
        official = "–" if s["official_count"] is None else str(s["official_count"])
        row = (str(s["items"]), official, str(s["files"]), f"{s['hours']:.3f}", str(len(s["problems"])))
        table.add_row(escape(s["id"]), *row)
    out.print(table)
    for s in report["sets"]:
        for w in s["warnings"]:
            out.print(f"[yellow]warning:[/] {escape(w)}", soft_wrap=True)
        for p in s["problems"]:
            out.print(f"[red]problem:[/] {escape(p)}", soft_wrap=True)


def show_item(record: Mapping[str, Any]) -> None:
    """Texts, inputs, then every output with its scores; word alignments where there are any."""
    item = record["item"]
    out.print(f"[bold]{escape(item['set'])}  {escape(item['item'])}[/]  (cluster {escape(item['cluster'])})")
    for name in ("text", "prompt_text"):
        if item.get(name):
            out.print(f"{name}: {escape(item[name])}", soft_wrap=True)
    for name, a in item["audio"].items():
        facts = (
            a.get("error")
            or f"{a['seconds']:.2f} s, {a['rate']} Hz, {a['channels']} ch, {a['container']} {a['subtype']}"
        )
        out.print(f"{name}: {escape(a['path'])} ({escape(str(facts))})", soft_wrap=True)
    if (video := item.get("video")) is not None:
        out.print(f"video: {escape(video['path'])} ({escape(video.get('error') or video['sha256'])})", soft_wrap=True)
    for output in record["outputs"]:
        out.print(f"\n[bold]{escape(output['system'])}[/] seed {output['seed']}: {output['status']}")
        if output["reason"]:
            out.print(f"  [red]{escape(output['reason'])}[/]", soft_wrap=True)
        if output["path"]:
            out.print(f"  {escape(output['path'])}", soft_wrap=True)
        for s in output["scores"]:
            value = number(s["value"], 4) if s["status"] == "ok" else f"{s['status']}: {s['reason']}"
            out.print(f"  {s['column']:<28} {escape(value)}", soft_wrap=True)
            if "hypothesis" in s["detail"]:
                out.print(f"    reference:  {escape(s['detail']['reference'])}", soft_wrap=True)
                out.print(f"    hypothesis: {escape(s['detail']['hypothesis'])}", soft_wrap=True)
                out.print(f"    alignment:  {_alignment(s['detail'].get('alignment', []))}", soft_wrap=True)


def _alignment(ops: Sequence[Sequence[Any]]) -> str:
    """Equal words plain; [-deleted-], {+inserted+} and [-wrong-]{+said+} as in wdiff."""
    words: list[str] = []
    for op, reference, hypothesis in ops:
        ref, hyp = escape(_words(reference)), escape(_words(hypothesis))
        if op == "equal":
            words.append(ref)
            continue
        words.append((f"[red]\\[-{ref}-][/]" if ref else "") + (f"[green]{{+{hyp}+}}[/]" if hyp else ""))
    return " ".join(words)


def _words(value: Any) -> str:
    return value if isinstance(value, str) else " ".join(map(str, value))


def show_rows(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """A plain table of equal dicts; what stands under 'fix' follows below it, unbroken, so that it can be copied."""
    if not rows:
        out.print(f"no {title}")
        return
    names = [n for n in rows[0] if n != "fix"]
    table = Table(title=title, title_justify="left")
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name == names[0])
    for row in rows:
        table.add_row(*(escape("" if row[n] is None else str(row[n])) for n in names))
    out.print(table)
    for row in rows:
        if row.get("fix"):
            out.print(f"{row[names[0]]}: {row['fix']}", markup=False, highlight=False, soft_wrap=True)
