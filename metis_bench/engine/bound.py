"""Metrics bound to the corpora of a suite: with their signatures, and where each of them applies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from metis_bench.audio import AUDIO_VERSION
from metis_bench.corpora.base import Field
from metis_bench.hashing import JSON, sha256_json
from metis_bench.metrics.base import Metric, MetricContext, Score, metrics
from metis_bench.sources import source_hash
from metis_bench.suite.plan import Plan, TestSet
from metis_bench.suite.schema import MetricSpec


@dataclass(frozen=True)
class BoundMetric:
    """A metric built for one corpus, with its signature.

    blocked: why it cannot be computed on this machine; its cells say so
    """

    index: int
    corpus: str
    spec: MetricSpec
    context: MetricContext
    metric: Metric
    signature: Mapping[str, JSON]
    signature_id: str | None  # None: not applicable to any set of the corpus, or blocked
    blocked: str | None = None


def bind(
    specs: Sequence[MetricSpec],
    contexts: Mapping[str, MetricContext],
    provides: Mapping[str, frozenset[Field]],
    blocked: Mapping[tuple[int, str], str] = MappingProxyType({}),
) -> list[BoundMetric]:
    """Every metric for every corpus. Signatures hash weights but load no model.

    blocked: by number of the spec and corpus, why it cannot be computed here
    provides: fields that at least one set of the corpus has. A metric that no set can satisfy is bound without a
    signature: it will only ever be 'not applicable' (a closed-vocabulary recogniser cannot be built without texts).
    """
    out: list[BoundMetric] = []
    for corpus, context in contexts.items():
        for number, spec in enumerate(specs):
            metric = metrics.get(spec.type)(spec.params, context)
            signature: dict[str, JSON] = {}
            reason = blocked.get((number, corpus))
            if reason is None and context.task in metric.tasks and metric.needs <= provides[corpus]:
                signature = signature_of(metric)
            name = sha256_json(signature)[:12] if signature else None
            out.append(BoundMetric(len(out), corpus, spec, context, metric, signature, name, reason))
    return out


def signature_of(metric: Metric) -> dict[str, JSON]:
    """All that decides its scores besides the audio and what it is compared with."""
    signature = {**metric.signature(), **({"decoding": AUDIO_VERSION} if metric.keyed else {})}
    if not type(metric).__module__.startswith("metis_bench."):  # a plug-in's author raises no version
        signature["source"] = source_hash(type(metric), Metric)
    return signature


def absent(plan: Plan, system: str, test_set: TestSet, one: BoundMetric) -> str | None:
    """Why a (system, set, metric) is not applicable, decided before anything runs; None where it has a cell."""
    metric = one.metric
    reason = plan.not_applicable.get((system, test_set.id))
    if reason is not None:
        return reason
    if test_set.task not in metric.tasks:
        return f"the metric is not defined for the task '{test_set.task}'"
    missing = sorted(metric.needs - test_set.spec.provides)
    if missing:
        return f"the set has no {', no '.join(missing)}"
    if one.blocked is not None:
        return one.blocked
    return None if metric.keyed or plan.facts[system].timed else "it only copies a file"


def failed(one: BoundMetric, reason: str) -> dict[str, Any]:
    """Scores of an output that has none, by column."""
    return {c.id: asdict(Score("failed", reason=reason)) for c in one.metric.columns}
