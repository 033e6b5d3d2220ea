"""What `metis-bench bench` found, as tables on stdout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from metis_bench.terminal import out

SHORT = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
TOLD = 3  # metrics that are not here, of which each says what it lacks
FIX = "metis-bench bench --only scoring --metric NAME says what one of them lacks; metis-bench doctor, this machine"


def show(found: Mapping[str, Any]) -> None:
    """The machine, then each part that was asked for."""
    machine = found["hardware"]
    memory = "" if machine["memory_gb"] is None else f", {machine['memory_gb']:g} GB of memory"
    gpus = f", {', '.join(machine['gpus'])}" if machine["gpus"] else ", no GPU"
    torch = found["packages"]["torch"] or "not installed"
    facts = f"{machine['cpu']}, {machine['cores']} cores{memory}{gpus}; torch {torch}; {found['created'][:10]}"
    out.print(facts, markup=False, highlight=False, soft_wrap=True)
    if found["generation"] is not None:
        _generation(found["generation"])
    if found["scoring"] is not None:
        _scoring(found["scoring"])


def _generation(part: Mapping[str, Any]) -> None:
    """A line a mode, precision and batch."""
    if not part["unavailable"]:
        threads = f", {part['threads']} threads" if part["device"] == "cpu" else ""
        prompt = "no" if part["task"] == "se" else f"{part['prompt_seconds']:g} s"
        title = f"generation: {part['size']} {part['task']}, {prompt} prompt, {part['seconds']:g} s target, "
        names = ("mode", "dtype", "batch", "s", "RTF", "speed-up", "TFLOP/s", "of limit", "GB", "tokens")
        table = _table(f"{title}{part['device_name']}{threads}", names, left=("mode", "dtype", "tokens"))
        for row in part["rows"]:
            table.add_row(*map(escape, _mode(row)))
        out.print(table)
        limits = ", ".join(f"{SHORT[name]} {tflop:.3g}" for name, tflop in part["limits_tflop_per_second"].items())
        out.print(
            f"medians of {part['repeats']}; speed-up: over the official mode (the release, pass for pass, in fp32)"
            f"\nlimit: TFLOP/s of a large matrix product here: {limits}\n"
            "compiled: the default mode, compiled\n"
            "tokens: equal to the official mode's (fp32), or the share that is drawn as in fp32; weights are random",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    _missing("generation", part["unavailable"])


def _table(title: str, names: Sequence[str], left: Sequence[str]) -> Table:
    """A title, and an empty table that is narrow: ten columns fit into a terminal of 80."""
    out.print(f"\n[bold]{escape(title)}[/]", highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for name in names:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=name not in ("tokens", ""))
    return table


def _mode(row: Mapping[str, Any]) -> list[str]:
    name = "compiled" if row["compiled"] else row["mode"]
    cells = [name, SHORT.get(row["dtype"], row["dtype"]), str(row["batch"])]
    if row["failed"]:
        return [*cells, *[""] * 6, f"not measured: {row['failed']}"]
    same = {True: "equal", False: "different", None: ""}[row["tokens"]]
    return [
        *cells,
        _number(row["seconds"], 2),
        _number(row["rtf"], 3),
        _number(row["speed_up"], 2),
        f"{row['tflop_per_second']:.3g}",
        f"{row['of_limit']:.0%}",
        _number(row["memory_gb"], 2),
        "" if row["mode"] == "official" else same if row["alike"] is None else f"{row['alike']:.1%}",
    ]


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _scoring(part: Mapping[str, Any]) -> None:
    """A line a metric, then what is missing."""
    if part["rows"]:
        sound = part["clips"]
        seconds = sum(sound["seconds"]) / sound["count"]
        title = f"scoring: one worker, {part['threads']} thread; {sound['what']}, {seconds:.1f} s a clip"
        table = _table(title, ("metric", "clips", "RTF", "audio s a second", ""), left=("metric", ""))
        for row in part["rows"]:
            told = row["failed"] or ""
            table.add_row(
                escape(row["metric"]),
                str(row.get("clips", "")),
                _number(row["rtf"], 4),
                _number(row["audio_s_per_s"], 1),
                escape(told),
            )
        out.print(table)
    _missing("scoring", part["unavailable"])
    if len(part["lacking"]) <= TOLD:
        for one in part["lacking"]:
            _missing(one["metric"], one)
        return
    names = ", ".join(one["metric"] for one in part["lacking"])
    several = {"reason": f"{len(part['lacking'])} metrics cannot be computed here", "fix": FIX}
    _missing(names, several)


def _missing(what: str, why: Mapping[str, Any] | None) -> None:
    if why:
        out.print(f"[yellow]not measured:[/] {escape(what)}: {escape(why['reason'])}", soft_wrap=True, highlight=False)
        if why["fix"]:
            out.print(f"  fix: {why['fix']}", markup=False, highlight=False, soft_wrap=True)
