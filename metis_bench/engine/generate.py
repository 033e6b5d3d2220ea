"""Stage 1: make every planned output that the store does not hold yet.

Rows with the same key (a deterministic system under another name, the same item in two sets) are made once. What a
worker does is in generating.py: it has no use for what is imported here, and starts sooner without.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from metis_bench.config import Config
from metis_bench.engine.executor import START_GRACE_S, Executor, Task, Work
from metis_bench.engine.fitness import file_checks, system_check
from metis_bench.engine.generating import Job, WorkerInit
from metis_bench.engine.outputs import Outputs
from metis_bench.engine.progress import Counted, Progress
from metis_bench.engine.store import chunks
from metis_bench.suite.plan import FILE_FIELDS, Plan, Row
from metis_bench.suite.schema import Suite, SystemSpec
from metis_bench.systems.base import System, systems


def generate(suite: Suite, outputs: Outputs, executor: Executor, config: Config, progress: Progress) -> None:
    """Run what is missing, system by system. Raises MissingPrerequisite where the store cannot be written."""
    plan = outputs.plan
    for spec in suite.systems:
        rows = outputs.lacking(spec.name)
        if not rows:
            continue
        cls = systems.get(spec.type)
        system = cls(spec.params)
        size = system.batch_on(cls.uses_gpu and executor.has_gpus)
        counted = Counted(progress, spec.name, len(rows), sum(plan.item(row).seconds for row in rows))
        with executor.pool(_work(spec, system, outputs, rows, size, config)) as pool:
            for task, step, result in pool.run(batches(map(partial(_job, plan), rows), size)):
                counted.one(task.payload[step].seconds)
                outputs.take(task.payload[step].key, result)


def _work(spec: SystemSpec, system: System, outputs: Outputs, rows: Sequence[Row], size: int, config: Config) -> Work:
    plan = outputs.plan
    warm_up = config.timeout_s if system.timed else 0.0  # the unmeasured run of its first item
    return Work(
        what=spec.name,
        factory="metis_bench.engine.generating:GenerateHandler",
        init=WorkerInit(config.plugins, spec.type, spec.params.model_dump(), outputs.store.root),
        tasks=-(-len(rows) // size),
        timeout_s=config.timeout_s * size,  # the first item of a batch waits for all
        grace_s=START_GRACE_S + warm_up,
        gpu="own" if system.uses_gpu else "none",
        alone=system.alone(),
        checks=(system_check(spec, plan.facts[spec.name], config), *file_checks(_job(plan, rows[0]).files.values())),
    )


def workers_for(system: System, config: Config) -> int:
    """One a GPU for what uses one; without a GPU one, where it wants all cores. Others: as configured."""
    gpus = len(config.gpus()) if system.uses_gpu else 0
    return gpus or (1 if system.alone() else config.workers)


def batches(jobs: Iterable[Job], size: int) -> Iterator[Task]:
    """Tasks of up to `size` jobs of about one length, made when a worker has time."""
    for some in chunks(jobs, size):
        yield Task(tuple(some), len(some))


def _job(plan: Plan, row: Row) -> Job:
    assert row.key is not None
    planned = plan.item(row)
    item = planned.item
    needs = plan.facts[row.system].needs[item.task]
    files = {n: planned.files[n] for n in FILE_FIELDS if n in needs}
    return Job(
        key=row.key,
        item=item.id,
        subset=item.subset,
        task=item.task,
        language=item.language,
        seed=row.derived_seed,
        texts={n: getattr(item, n) for n in ("text", "prompt_text") if n in needs},
        files={n: (str(ref.path), str(ref.sha256)) for n, ref in files.items()},
        duration=planned.duration if "duration" in needs else None,
        seconds=planned.seconds,
    )
