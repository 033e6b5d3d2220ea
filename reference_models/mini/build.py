"""`make mini`: trains the whole mini family from nothing, stage by stage, in a work folder.

A stage that is done is not done again, one that was cut short goes on where it was. Stages write weights under official
names into `WORK/weights`, so that later stages, and the pipelines, open them as they open the official release.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from reference_models.checkpoints import open_source
from reference_models.config import FEATURE_SAMPLE_RATE
from reference_models.hub import place
from reference_models.mini import listen
from reference_models.mini.corpus import Recordings
from reference_models.mini.espeak import EspeakEngine
from reference_models.registry import FILES
from reference_models.sizes import MINI_FEATURES, MINI_SEMANTIC
from reference_models.training.batches import Batches
from reference_models.training.loop import LoopConfig, Trained, train
from reference_models.training.models import write_weights
from reference_models.training.objectives import Objective
from reference_models.training.optim import OptimConfig
from reference_models.training.progress import falling
from reference_models.training.semantic_codec import FeatureCrops, SemanticCodecObjective, new_codec

UTTERANCES = 9000  # of the training split: 10.5 hours
HELD = 60  # utterances of voices that are never trained on, to see how a stage went


@dataclass
class Work:
    """A work folder. minutes: what is left of this slice; None: no limit."""

    folder: Path
    minutes: float | None = None
    started: float = 0.0

    @property
    def weights(self) -> Path:
        """What `open_source` opens."""
        return self.folder / "weights"

    def run(self, stage: str) -> Path:
        """The training run of a stage."""
        return self.folder / "runs" / stage

    def left(self) -> float | None:
        """Minutes of this slice that are left."""
        return None if self.minutes is None else self.minutes - (time.monotonic() - self.started) / 60


@contextmanager
def recordings(split: Any = "training") -> Iterator[Recordings]:
    """The utterances of a split."""
    with EspeakEngine() as engine:
        yield Recordings(engine, split)


def features(work: Work) -> dict[str, Any] | None:
    """The stand-in for w2v-BERT."""
    with recordings() as made, recordings("recogniser") as other:
        utterances, held = listen.recorded(made, range(4000)), listen.recorded(other, range(HELD))
    model = listen.small_features()
    objective = listen.ListenObjective(model)
    batches = listen.Listening(utterances, rows=16, seed=0, config=MINI_FEATURES)
    optim = OptimConfig(lr=2e-3, warmup=100, schedule="cosine", ema=0.99)
    trained = _train("features", objective, batches, 2500, optim, work)
    if not trained.finished:
        return None
    objective.eval()
    listen.measure_statistics(model, utterances[:400])
    facts = {"steps": trained.step, "seconds": round(trained.seconds), "data": "4000 utterances of the training split"}
    facts["phone_accuracy_unseen"] = round(listen.accuracy(objective, held), 4)
    listen.export_features(model, work.weights, torch.float32, facts, MINI_FEATURES)
    return facts


def semantic_codec(work: Work) -> dict[str, Any] | None:
    """Features to one stream of tokens."""
    extract = open_source(work.weights).features()
    with recordings() as made, torch.inference_mode():
        heard = [extract(made.said(number)[0].at(FEATURE_SAMPLE_RATE))[0].half() for number in range(3000)]
    codec = new_codec(MINI_SEMANTIC, seed=0)
    objective = SemanticCodecObjective(codec)
    batches = FeatureCrops(heard, rows=32, frames=96, seed=0)
    optim = OptimConfig(lr=1e-3, warmup=100, schedule="cosine", ema=0.99)
    trained = _train("semantic_codec", objective, batches, 3000, optim, work)
    if not trained.finished:
        return None
    facts = {"steps": trained.step, "seconds": round(trained.seconds), "data": "3000 utterances of the training split"}
    facts["perplexity"] = round(float(objective.care.perplexity()), 1)
    file = FILES["semantic_codec"]
    write_weights(place(file, work.weights), codec.state_dict(), MINI_SEMANTIC, file.config, torch.float32, facts)
    return facts


def _train(
    stage: str, objective: Objective, batches: Batches[Any], steps: int, optim: OptimConfig, work: Work
) -> Trained:
    config = LoopConfig(steps, optim, precision="bf16", checkpoint_every=500, minutes=work.left(), cpu=True)
    with falling(stage, steps) as show:
        return train(objective, batches, config, work.run(stage), progress=show)


STAGES: dict[str, Callable[[Work], dict[str, Any] | None]] = {
    "features": features,
    "semantic_codec": semantic_codec,
}


def build(work: Work, only: list[str] | None = None) -> None:
    """Run all stages, or some, in order; stops where a stage could not be finished in this slice."""
    work.started = time.monotonic()
    for name, stage in STAGES.items():
        done = work.folder / "done" / f"{name}.json"
        if done.is_file() or (only and name not in only):
            continue
        facts = stage(work)
        if facts is None:
            return
        done.parent.mkdir(parents=True, exist_ok=True)
        done.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
