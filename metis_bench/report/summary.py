"""What index.html says before any table: the one-line summary, grouped failures, the task's and the run's names."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone

from metis_bench.report.data import RunData
from metis_bench.report.links import Links

TASKS: Mapping[str, str] = {
    "tts": "Zero-shot text-to-speech",
    "vc": "Voice conversion",
    "tse": "Target speaker extraction",
    "se": "Speech enhancement",
    "l2s": "Lip-to-speech",
    "omni": "Several tasks",
}
STAGES: Mapping[str, str] = {"generate": "generation", "measure": "measurement"}


@dataclass(frozen=True)
class Fact:
    """A part of the summary line; `tone` is '', 'good' or 'bad'."""

    text: str
    tone: str = ""


@dataclass(frozen=True)
class Summary:
    """Counts over the whole run, as short texts."""

    task: str
    facts: tuple[Fact, ...]

    @property
    def sentence(self) -> str:
        """All facts in one line of plain text."""
        return " · ".join(fact.text for fact in self.facts)


@dataclass(frozen=True)
class Place:
    """Where a failure happened; `url` leads to the item where the plan has it. All empty: the whole run."""

    set: str
    item: str
    seed: int | None
    url: str | None


@dataclass(frozen=True)
class FailureGroup:
    """Failures with the same stage, system, column and reason, one place each."""

    stage: str
    system: str
    column: str
    reason: str
    places: tuple[Place, ...]


def plural(count: int, noun: str) -> str:
    """'1 item', '2 items'."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def summarise(data: RunData) -> Summary:
    """The honest line: what was run, how much of it came out, and whether the metrics can be trusted."""
    results = data.results
    done = sum(1 for row in data.rows if (g := data.generations.get(row.key)) is not None and g.status == "ok")
    passed = sum(1 for check in results.oracle_checks if check.ok)
    violated = sum(1 for check in results.oracle_checks if check.ok is False)
    unknown = len(results.oracle_checks) - passed - violated
    facts = [
        Fact(plural(len(results.systems), "system")),
        Fact(plural(len(results.sets), "test set")),
        Fact(plural(len(data.items), "item")),
        Fact(f"{done}/{len(data.rows)} outputs generated", "" if done == len(data.rows) else "bad"),
        *_failures(data),
    ]
    if results.oracle_checks:
        facts.append(Fact(f"{passed}/{len(results.oracle_checks)} oracle checks passed", "" if violated else "good"))
    facts += [Fact(f"{plural(violated, 'oracle check')} violated", "bad")] if violated else []
    facts += [Fact(f"{plural(unknown, 'oracle check')} not possible")] if unknown else []
    return Summary(TASKS.get(results.suite.task, results.suite.task), tuple(facts))


def _failures(data: RunData) -> list[Fact]:
    """Failed outputs and missing scores; red unless they are only those of bounds and oracles (PESQ of silence)."""
    ranked = {system.name for system in data.results.systems if system.ranked}
    facts = []
    for stage, noun in (("generate", "failed output"), ("measure", "missing score")):
        found = [failure for failure in data.results.failures if failure.stage == stage]
        ours = any(failure.system is None or failure.system in ranked for failure in found)
        if found:
            facts.append(
                Fact(plural(len(found), noun) + ("" if ours else " of bounds and oracles"), "bad" if ours else "")
            )
    return facts or [Fact("no failures", "good")]


def group_failures(data: RunData, links: Links) -> tuple[FailureGroup, ...]:
    """Failures with equal reasons in one group, largest first; the places link to the items."""
    labels = {column.id: column.label for column in data.results.columns}
    groups: dict[tuple[str, str, str, str], list[Place]] = {}
    for failure in data.results.failures:
        stage = STAGES.get(failure.stage, failure.stage)
        column = labels.get(failure.column, failure.column) if failure.column else ""
        seed = failure.seed if len(data.run.seeds) > 1 else None
        places = groups.setdefault((stage, failure.system or "", column, failure.reason), [])
        places.append(Place(failure.set or "", failure.item or "", seed, links.item(failure.set, failure.item)))
    found = [FailureGroup(*key, tuple(places)) for key, places in groups.items()]
    return tuple(sorted(found, key=lambda group: -len(group.places)))


def date(data: RunData) -> str:
    """When the run was made, in UTC to the minute; as it stands in run.json where that is no ISO time."""
    created = str(data.run.provenance.get("created", ""))
    try:
        moment = datetime.fromisoformat(created.replace("Z", "+00:00"))
    except ValueError:
        return created
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M UTC" if moment.tzinfo is not None else "%Y-%m-%d %H:%M")


def command(data: RunData) -> str:
    """The command line that made the run."""
    return shlex.join(str(part) for part in data.run.provenance.get("argv") or ())
