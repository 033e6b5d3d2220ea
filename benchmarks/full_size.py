"""Write random full-size weights under official names, load them strictly, and generate once with every task.

    python benchmarks/full_size.py [--tasks tts se] [--seconds 0.5] [--fast] [--video talking.mp4]

Each task runs in a process of its own, so that peak memory is its own. TSE is loaded as base, adapter and LoRA; Omni is
told the text and does TSE. Weights of a stage 1 are deleted after its task; at most 6 GB (bf16) are on disk at once.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from _rows import Row, add_option, length_s, whole_number
from _rows import write as write_rows

from metis_bench.bench.clips import buzz
from reference_models.checkpoints import open_source
from reference_models.config import Task, VisualConfig
from reference_models.errors import MetisError
from reference_models.jobs import Job
from reference_models.pipeline import Metis
from reference_models.random_weights import write_random
from reference_models.speech import Speech
from reference_models.variants import variant_files

R = TypeVar("R")

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
FAST: dict[str, Any] = {"steps": 2, "first_steps": 2, "fine_steps": (2, *[1] * 10)}
VARIANTS = {"tts": "tts", "vc": "vc", "tse": "tse-lora-32", "se": "se", "l2s": "l2s", "omni": "omni"}
SHARED = (
    "maskgct_s2a_model_1layer",
    "maskgct_s2a_model_full",
    "semantic_codec",
    "acoustic_codec_encoder",
    "acoustic_codec_decoder",
    "w2v_bert_2.0",
    "wav2vec2bert_stats",
)
VIDEO_RATE = 25


@dataclass(frozen=True)
class Options:
    """How every task runs. disk, compute: names in DTYPES; video: None for random features of a visual encoder."""

    seconds: float = 0.5
    prompt_seconds: float = 1.0
    fast: bool = False
    video: Path | None = None
    disk: str = "bfloat16"
    compute: str = "float32"
    threads: int = 2


@dataclass(frozen=True)
class Result:
    """load, generate: seconds; samples: generated, at 24 kHz; peak: bytes of memory of the process."""

    task: str
    variant: str
    load: float
    generate: float
    samples: int
    peak: int


def voice(seconds: float, seed: int) -> Speech:
    """A buzz with a moving pitch, and some noise: 16 kHz."""
    return Speech(buzz(seconds, seed, 16_000), 16_000)


def job_of(task: str, options: Options) -> Job:
    """Something short for a task."""
    prompt, source = voice(options.prompt_seconds, 0), voice(options.seconds, 1)
    frames = round(options.seconds * VIDEO_RATE)
    lips = torch.randn(frames, VisualConfig().dim, generator=torch.Generator().manual_seed(2))
    kind: Task = "tse" if task == "omni" else task  # type: ignore[assignment]
    match task:
        case "tts":
            return Job(kind, text="Hello.", prompt=prompt, prompt_text="Good morning.", seconds=options.seconds)
        case "l2s":
            return Job(kind, video=options.video or lips, prompt=prompt)
        case "se":
            return Job(kind, source=source)
        case "omni":
            return Job(kind, source=source, prompt=prompt, text="Hello.")
        case _:
            return Job(kind, source=source, prompt=prompt)


def write(folder: Path, names: list[str], dtype: str) -> list[Path]:
    """Files of random weights."""
    return write_random(folder, "full", names=names, dtype=DTYPES[dtype])


def generate(folder: Path, task: str, options: Options) -> Result:
    """Load what the task needs from `folder`, and generate; to be called in a new process."""
    torch.set_num_threads(options.threads)
    metis, job = Metis(open_source(folder, dtype=DTYPES[options.compute]), VARIANTS[task]), job_of(task, options)
    begin = time.perf_counter()
    needed = ["stage1", "first", "fine", "decoder"]
    needed += ["semantic_codec", "encoder"] if job.prompt else []
    needed += ["features"] if job.prompt or job.source else []
    needed += ["visual"] if isinstance(job.video, Path) else []
    for part in needed:
        getattr(metis.parts, part)
    loaded = time.perf_counter()
    made = metis.generate([job], **(FAST if options.fast else {}))[0]
    done = time.perf_counter()
    assert np.isfinite(made.samples).all()
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Result(task, VARIANTS[task], loaded - begin, done - loaded, len(made.samples), peak)


def in_new_process(function: Callable[..., R], *given: Any) -> R:
    """What it returns or raises; its memory is gone afterwards, and was never ours."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *given).result()


def run(tasks: list[str], options: Options, parent: Path | None = None) -> Iterator[Result]:
    """One result a task. Weights are written to a temporary folder (in `parent`) and deleted at the end."""
    with tempfile.TemporaryDirectory(prefix="metis-full-size-", dir=parent) as name:
        folder = Path(name)
        names = [*SHARED, "vis_model"] if options.video and "l2s" in tasks else [*SHARED]
        in_new_process(write, folder, names, options.disk)
        for task in tasks:
            files = variant_files(VARIANTS[task])
            own = [str(file) for file in (files.checkpoint, files.adapter, files.lora) if file is not None]
            written = in_new_process(write, folder, own, options.disk)
            yield in_new_process(generate, folder, task, options)
            for path in written:
                path.unlink()


def main() -> None:
    """Print a table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seconds", type=length_s, default=Options.seconds, help="to generate")
    parser.add_argument("--prompt-seconds", type=length_s, default=Options.prompt_seconds)
    parser.add_argument("--fast", action="store_true", help="two steps instead of the paper's")
    parser.add_argument("--video", type=Path, help="a talking face for L2S, instead of random features")
    parser.add_argument("--disk", choices=DTYPES, default=Options.disk, help="precision of the files")
    parser.add_argument("--compute", choices=DTYPES, default=Options.compute, help="precision of stage 1 and S2A")
    parser.add_argument("--threads", type=whole_number, default=Options.threads)
    parser.add_argument("--json", action="store_true", help="one object a line")
    add_option(parser)
    options = vars(parser.parse_args())
    tasks, as_json, to = options.pop("tasks"), options.pop("json"), options.pop("rows")
    rows = []
    if not as_json:
        print("| task | stage 1 | load s | generate s | samples | peak GB |\n| --- | --- | --- | --- | --- | --- |")
    try:
        for r in run(tasks, Options(**options)):
            line = f"| {r.task} | {r.variant} | {r.load:.1f} | {r.generate:.1f} | {r.samples} | {r.peak / 1e9:.2f} |"
            print(json.dumps(asdict(r)) if as_json else line, flush=True)
            rows.append(Row(f"full size from files, {r.task}: load", "s", r.load))
            rows.append(Row(f"full size from files, {r.task}: generate {options['seconds']:g} s", "s", r.generate))
            rows.append(Row(f"full size from files, {r.task}: peak memory", "GB", r.peak / 1e9))
        write_rows(to, rows)
    except MetisError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
