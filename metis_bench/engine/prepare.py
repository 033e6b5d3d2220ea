"""Before anything runs: load corpora, check prerequisites, bind metrics, make the plan. `plan` and `run` share it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from metis_bench.config import LOCAL, Config
from metis_bench.corpora.base import Corpus, Field, LoadedCorpus, corpora
from metis_bench.engine.bound import BoundMetric, bind
from metis_bench.engine.generate import workers_for
from metis_bench.engine.outputs import Outputs, median_rtf
from metis_bench.engine.progress import Progress, quiet
from metis_bench.engine.store import Store
from metis_bench.errors import CorpusError, MissingPrerequisite, SuiteError, nearest
from metis_bench.hashing import JSON, sha256_json
from metis_bench.metrics.base import MIXED, MetricContext, metrics
from metis_bench.suite.plan import Plan, Row, SystemFacts, TestSet, corpus_task, make_plan, test_sets
from metis_bench.suite.schema import CorpusSpec, Suite, SystemSpec, tasks_of
from metis_bench.systems.base import System, causes, systems

MIN_TIMED_OUTPUTS = 4


@dataclass(frozen=True)
class Blocked:
    """Something of the suite that cannot run on this machine, and what to do about it."""

    what: str  # system, metric
    name: str
    reason: str
    fix: str | None


@dataclass(frozen=True)
class Prepared:
    """A suite made ready: the plan, its metrics, the identity of every system."""

    suite: Suite
    plan: Plan
    bound: tuple[BoundMetric, ...]
    fingerprints: dict[str, str]
    blocked: tuple[Blocked, ...]

    @property
    def id(self) -> str:
        """sha256 of all that decides the results of this run; no path and no title does."""
        s = self.suite
        orders = [[o.column, o.better, o.worse, o.sets] for o in s.oracle_order]
        decisive = [s.name, s.profile, s.task, s.seeds, s.limit, orders, asdict(s.stats)]
        return sha256_json([decisive, self.plan.hash, [b.signature_id for b in self.bound]])

    def require_unblocked(self) -> None:
        """Raise MissingPrerequisite when a system or every metric is blocked; says what can run instead.

        Single metrics that cannot be computed here stop nothing: their cells, and a warning, say why.
        """
        names = {b.name for b in self.blocked if b.what == "system"}
        keyed = [b for b in self.bound if b.metric.keyed]  # a time says nothing about what was generated
        blind = any(b.blocked for b in keyed) and not any(b.signature_id for b in keyed)
        if not names and not blind:
            return
        stops = [b for b in self.blocked if b.what == "system" or blind]
        lines = [f"{b.what} '{b.name}': {b.reason}" + (f"\n    fix: {b.fix}" if b.fix else "") for b in stops]
        free = [s.name for s in self.suite.systems if s.name not in names]
        fix = f"or leave them out: --system {','.join(free)}" if free and not blind else None
        raise MissingPrerequisite("this suite cannot run here yet:\n  " + "\n  ".join(lines), fix=fix)


def open_corpus(spec: CorpusSpec, config: Config, *, lenient: bool = False) -> Corpus:
    """One corpus of the suite where it lies on this machine. lenient: with no root where that is not known."""
    cls = corpora.get(spec.type)
    root: Path | None = None
    if cls.named_by_suite:
        root = config.named_root(spec.key) or config.named_root(spec.type)
    else:
        try:
            root = config.corpus_root(spec.type, cls.default_folder, cls.how_to_get)
        except MissingPrerequisite:
            if not lenient:
                raise
    return cls(spec.params, root, config.cache / spec.type, spec.key, config.named_root)


def load_corpus(spec: CorpusSpec, config: Config) -> LoadedCorpus:
    """Read one corpus of the suite from where it lies on this machine."""
    try:
        return open_corpus(spec, config).load()
    except OSError as error:
        raise CorpusError(
            f"the corpus '{spec.key}' cannot be read or made: {error.strerror}", where=error.filename
        ) from None


def prepare(suite: Suite, config: Config, progress: Progress = quiet) -> Prepared:
    """Load, check, bind, plan. Raises CorpusError, MissingPrerequisite (corpora) or SuiteError."""
    sets: list[TestSet] = []
    contexts: dict[str, MetricContext] = {}
    provides: dict[str, frozenset[Field]] = {}
    for spec, loaded in load_corpora(suite, config):
        task = corpus_task(spec.key, loaded)
        if task not in tasks_of(suite.task):
            raise CorpusError(f"the corpus '{spec.key}' has items for '{task}', the suite is for '{suite.task}'")
        sets += test_sets(spec.key, loaded, suite.limit, partial(progress, f"reading {spec.key}"))
        provides[spec.key] = frozenset().union(*(s.provides for s in loaded.subsets.values()))
        texts = tuple(sorted({i.text for i in loaded.items if i.text}))
        languages = {i.language for i in loaded.items}
        contexts[spec.key] = MetricContext(task, languages.pop() if len(languages) == 1 else MIXED, texts)
    known, blocked = _identify(suite, progress)
    fingerprints = {name: sha256_json(causes) if causes else blocked_identity(name) for name, causes in known.items()}
    bound, blocked_metrics = _bind(suite, contexts, provides)
    _check_orders(suite, [s.id for s in sets], set(contexts))
    facts = {s.name: _facts(s, fingerprints[s.name], known[s.name]) for s in suite.systems}
    plan = make_plan(suite, sets, facts)
    return Prepared(suite, plan, tuple(bound), fingerprints, (*blocked, *blocked_metrics))


def load_corpora(suite: Suite, config: Config) -> list[tuple[CorpusSpec, LoadedCorpus]]:
    """All corpora of the suite. Raises MissingPrerequisite for all that are absent at once, and says what is there."""
    found: list[tuple[CorpusSpec, LoadedCorpus]] = []
    absent: list[MissingPrerequisite] = []
    for spec in suite.corpora:
        try:
            found.append((spec, load_corpus(spec, config)))
        except MissingPrerequisite as error:
            absent.append(error)
    if not absent:
        return found
    rest = f"leave out what is missing: --corpus {','.join(s.key for s, _ in found)}" if found else None
    if len(absent) > 1:
        raise MissingPrerequisite("\n\n".join(map(str, absent)), fix=rest)
    (one,) = absent
    fixes = [fix for fix in (one.fix, rest and f"or {rest}") if fix]
    raise MissingPrerequisite(one.message, where=one.where, line=one.line, fix="\n       ".join(fixes) or None)


def _facts(spec: SystemSpec, identity: str, known: Mapping[str, JSON]) -> SystemFacts:
    """What the plan must know of a system. Raises SuiteError when it reads fields that its class does not declare."""
    cls = systems.get(spec.type)
    system = cls(spec.params)
    needs = {task: system.needs_for(task) for task in cls.tasks}
    hidden = sorted(frozenset().union(*needs.values()) - cls.needs)
    if hidden:
        raise SuiteError(f"system '{spec.name}' reads {', '.join(hidden)}, which its class does not list in 'needs'")
    sizes = system.sizes() if known else {}
    parts = {name: sha256_json(cause) for name, cause in known.items()}
    return SystemFacts(identity, needs, cls.deterministic, cls.timed, system.caveat(), sizes, parts)


def _check_orders(suite: Suite, set_ids: Sequence[str], loaded: set[str]) -> None:
    """Sets that an oracle order names must exist, where their corpus is part of this run."""
    for order in suite.oracle_order:
        for name in order.sets or ():
            if name.split("/")[0] in loaded and name not in {*set_ids, *loaded}:
                raise SuiteError(f"oracle_order: no set '{name}'{nearest(name, {*set_ids, *loaded})}")


def blocked_identity(name: str) -> str:
    """Stands for the fingerprint of a system that cannot run here."""
    return f"blocked:{name}"


def _identify(suite: Suite, progress: Progress) -> tuple[dict[str, dict[str, JSON]], list[Blocked]]:
    """The causes of every system; none of those that cannot run here: they are blocked. Raises SuiteError naming it."""
    out: dict[str, dict[str, JSON]] = {}
    blocked: list[Blocked] = []
    for done, spec in enumerate(suite.systems):
        progress("identifying systems", done, len(suite.systems))  # hashing gigabytes of weights takes a while
        system: System = systems.get(spec.type)(spec.params)
        out[spec.name] = {}
        try:
            system.check()
            out[spec.name] = causes(system)
        except MissingPrerequisite as error:
            blocked.append(Blocked("system", spec.name, error.message, error.fix))
        except OSError as error:
            blocked.append(Blocked("system", spec.name, f"cannot read {error.filename}: {error.strerror}", None))
        except SuiteError as error:
            raise SuiteError(f"system '{spec.name}': {error.message}", fix=error.fix) from error
    progress("identifying systems", len(suite.systems), len(suite.systems))
    return out, blocked


def _bind(
    suite: Suite, contexts: dict[str, MetricContext], provides: dict[str, frozenset[Field]]
) -> tuple[list[BoundMetric], list[Blocked]]:
    told: dict[tuple[str, str], Blocked] = {}
    reasons: dict[tuple[int, str], str] = {}
    for number, spec in enumerate(suite.metrics):
        for key, context in contexts.items():
            metric = metrics.get(spec.type)(spec.params, context)
            try:
                if context.task in metric.tasks and metric.needs <= provides[key]:
                    metric.check()
            except (MissingPrerequisite, SuiteError) as error:  # not here, or not for this corpus' language
                name = metric.columns[0].id
                reasons[number, key] = error.message
                told[name, error.message] = Blocked("metric", name, error.message, error.fix)
    bound = bind(suite.metrics, contexts, provides, reasons)
    _check_columns(suite, bound)
    return bound, list(told.values())


def _check_columns(suite: Suite, bound: Sequence[BoundMetric]) -> None:
    """Two metrics must not share a column; oracle orders must name existing columns."""
    ids = [(b.corpus, c.id) for b in bound for c in b.metric.columns]
    twice = {name for name, count in Counter(ids).items() if count > 1}
    if twice:
        raise SuiteError(f"metrics: the column '{min(twice)[1]}' is defined twice; remove one of its metrics")
    names = dict.fromkeys(name for b in bound for c in b.metric.columns for name in (c.id, c.family) if name)
    for order in suite.oracle_order:
        if order.column not in names:
            raise SuiteError(
                f"oracle_order of suite '{suite.name}': no metric has the column '{order.column}'"
                f"{nearest(order.column, names)}",
                fix="correct the column, or drop the checks: --set oracle_order=[]",
            )


def plan_cells(prepared: Prepared, outputs: Outputs, config: Config) -> list[dict[str, JSON]]:
    """One line a (system, set): rows cached, to run, broken; audio hours and estimated wall seconds; blocked or n/a."""
    blocked = {b.name: b for b in prepared.blocked if b.what == "system"}
    names = [s.name for s in prepared.suite.systems]
    rtfs = {**past_rtf(prepared.suite, outputs.store), **median_rtf(outputs, names)}
    by_pair: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in prepared.plan.rows:
        by_pair[row.system, row.set_id].append(row)
    out: list[dict[str, JSON]] = []
    for spec in prepared.suite.systems:
        for test_set in prepared.plan.sets:
            line: dict[str, JSON] = {"system": spec.name, "set": test_set.id, "kind": systems.get(spec.type).kind}
            absent = prepared.plan.not_applicable.get((spec.name, test_set.id))
            if absent is not None:
                out.append({**line, "status": "not_applicable", "reason": absent})
                continue
            rows = by_pair[spec.name, test_set.id]
            todo = [r for r in rows if r.key is not None and outputs.made[r.key] is None]
            seconds = sum(prepared.plan.item(r).seconds for r in todo)
            rtf = rtfs.get(spec.name)
            workers = workers_for(systems.get(spec.type)(spec.params), config)
            line.update(
                rows=len(rows),
                cached=sum(r.key is not None for r in rows) - len(todo),
                to_run=len(todo),
                broken=sum(r.key is None for r in rows),
                hours=seconds / 3600,
                estimate_s=None if rtf is None else seconds * rtf / max(1, min(workers, len(todo))),
            )
            stop = blocked.get(spec.name)
            if stop is not None:
                line.update(status="blocked", reason=stop.reason, fix=stop.fix)
            else:
                line["status"] = "to_run" if todo else "cached"
            out.append(line)
    return out


def _timing_key(spec: SystemSpec) -> str:
    return sha256_json(["rtf", spec.type, spec.params.model_dump(mode="json")])  # tiny and full size share a type


def past_rtf(suite: Suite, store: Store) -> dict[str, float]:
    """The real-time factor each system had the last time it ran with these parameters and this store."""
    found = {s.name: store.get("timing", _timing_key(s)) for s in suite.systems}
    return {name: float(record["rtf"]) for name, record in found.items() if record is not None}


def keep_rtf(prepared: Prepared, outputs: Outputs) -> None:
    """Remember this run's real-time factors for the next plan's estimate."""
    measured = median_rtf(outputs, [s.name for s in prepared.suite.systems])
    for spec in prepared.suite.systems:
        if spec.name in measured:
            outputs.store.put("timing", _timing_key(spec), {"rtf": measured[spec.name], "system": spec.type})


def _scoring_key(suite: Suite) -> str:
    return sha256_json(["scoring", sorted(m.type for m in suite.metrics)])


def keep_scoring(prepared: Prepared, store: Store, seconds: float, outputs: int, config: Config) -> None:
    """Remember what scoring one output with this suite's metrics took; too few outputs measure only loading.

    Nothing of a cluster, whose number of workers nobody knows beforehand.
    """
    if outputs >= MIN_TIMED_OUTPUTS and config.executor == LOCAL:
        store.put("timing", _scoring_key(prepared.suite), {"output_s": seconds * config.workers / outputs})


def scoring_estimate(prepared: Prepared, outputs: Outputs, config: Config) -> float | None:
    """Seconds to score what is still to be generated; None when these metrics never ran with this store."""
    record = outputs.store.get("timing", _scoring_key(prepared.suite))
    todo = {r.key for r in prepared.plan.rows if r.key is not None and outputs.made[r.key] is None}
    if record is None:
        return None if todo else 0.0
    return float(record["output_s"]) * len(todo) / config.workers
