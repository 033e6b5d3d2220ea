"""Results of runs that measured whatever the paper printed, without corpora, models or weights."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from metis_bench.corpora.base import corpora
from metis_bench.published.load import find, load
from metis_bench.published.model import Published
from metis_bench.suite.load import load_document, load_suite, shipped_suites
from metis_bench.suite.schema import Suite

TASKS = {"seedtts": "tts", "librispeech": "tts", "vctk": "vc", "librimix": "tse", "emiliamix": "tse", "dns2020": "se"}
SUBSETS = {"dns2020": ["no_reverb", "with_reverb", "real"]}


def paper() -> Published:
    """The shipped results of the paper."""
    return load(find("metis-paper"))


def suites() -> Iterator[Suite]:
    """Every shipped suite in every profile that asks for published results."""
    for path in shipped_suites():
        for profile in load_document(path).data.get("profiles") or {}:
            suite = load_suite(path, profile)
            if suite.published:
                yield suite


def printed_columns() -> list[str]:
    """Our columns that stand beside the paper's."""
    datasets = paper().source.datasets.values()
    return sorted({column for d in datasets for column in d.columns.values() if column is not None})


def skeleton(suite: Suite, columns: Iterable[str] = (), *, items: int = 10) -> dict[str, Any]:
    """What aggregate() makes of a run of one system that has `columns` (default: all that the paper needs)."""
    named = list(columns) or printed_columns()
    sets: list[dict[str, Any]] = []
    for spec in suite.corpora:
        assert spec.type in corpora.names()
        task = "vc" if getattr(spec.params, "list", "").startswith("non_para") else TASKS.get(spec.type, "l2s")
        for subset in SUBSETS.get(spec.type, [""]):
            about = {"id": f"{spec.key}/{subset}" if subset else spec.key, "corpus": spec.key, "subset": subset}
            sets.append({**about, "task": task, "items": items, "total": items, "official_count": None})
    cell = {"system": "ours", "status": "complete", "value": 1.0, "n": items, "N": items, "rank": 1}
    return {
        "schema": 1,
        "suite": suite.header(),
        "stats": {"resamples": 100, "level": 0.95, "seed": 0},
        "systems": [{"name": "ours", "kind": "imported", "ranked": True}],
        "sets": sets,
        "columns": [{"id": c, "label": f"label of {c}", "direction": "higher", "headline": True} for c in named],
        "cells": [{**cell, "set": s["id"], "column": c} for s in sets for c in named],
    }
