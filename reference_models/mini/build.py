"""`make mini`: trains the whole mini family from nothing, stage by stage, in a work folder.

A stage that is done is not done again, one that was cut short goes on where it was. Stages write weights under official
names into `WORK/weights`, so that later stages, and the pipelines, open them as they open the official release.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from reference_models.checkpoints import open_source
from reference_models.config import FEATURE_SAMPLE_RATE, Task
from reference_models.errors import InputError
from reference_models.hub import place
from reference_models.mini import hear, listen, watch
from reference_models.mini.corpus import Recordings
from reference_models.mini.espeak import EspeakEngine
from reference_models.mini.grammar import Split
from reference_models.registry import FILES
from reference_models.sizes import MINI_ACOUSTIC, MINI_FEATURES, MINI_SEMANTIC, config_path
from reference_models.training.acoustic_codec import (
    AcousticCodecObjective,
    WaveCrops,
    fit_codes,
    freeze_codes,
    states,
)
from reference_models.training.acoustic_codec import new_codec as new_acoustic
from reference_models.training.batches import Batches
from reference_models.training.conditions import pcm
from reference_models.training.loop import LoopConfig, Precision, Trained, train
from reference_models.training.models import PROVENANCE, write_weights
from reference_models.training.objectives import Objective
from reference_models.training.optim import OptimConfig
from reference_models.training.progress import counting, falling
from reference_models.training.recipe import load
from reference_models.training.run import WEIGHTS, placed, run
from reference_models.training.semantic_codec import FeatureCrops, SemanticCodecObjective, new_codec
from reference_models.training.simulate import Chances, World
from reference_models.training.sounds import SyntheticNoise, Voices
from reference_models.training.tokenize import Content, tokenize

UTTERANCES = 9000  # of the training split: 10.5 hours
HUSH = 1e-3  # below it the codec's distance is deaf: synthetic speech is silent between words, noise there says nothing
CODEC_STEPS = (3600, 1800)  # without codebooks, on them
HELD = 60  # utterances of voices that are never trained on, to see how a stage went
HELD_VOICES = 20  # of the recogniser's
HELD_DATA = 250  # the same, of a data set


@dataclass
class Work:
    """A work folder.

    minutes: of this slice, None: no limit; scale: of steps and data, to see that all stages run (what they make is
    worth nothing then)
    """

    folder: Path
    minutes: float | None = None
    scale: float = 1.0
    started: float = field(default_factory=time.monotonic)

    @property
    def weights(self) -> Path:
        """What `open_source` opens."""
        return self.folder / "weights"

    def run(self, stage: str) -> Path:
        """The training run of a stage."""
        return self.folder / "runs" / stage

    def some(self, count: int, least: int) -> int:
        """So many, scaled."""
        return max(min(count, least), round(count * self.scale))

    def left(self) -> float | None:
        """Minutes of this slice that are left."""
        return None if self.minutes is None else self.minutes - (time.monotonic() - self.started) / 60


@contextmanager
def recordings(split: Split = "training") -> Iterator[Recordings]:
    """The utterances of a split."""
    with EspeakEngine() as engine:
        yield Recordings(engine, split)


def features(work: Work, name: str) -> dict[str, Any] | None:
    """The stand-in for w2v-BERT."""
    with recordings() as made, recordings("recogniser") as other:
        utterances, held = (
            listen.recorded(made, range(work.some(4000, 8))),
            listen.recorded(other, range(work.some(HELD, 4))),
        )
    model = listen.small_features()
    objective = listen.ListenObjective(model)
    batches = listen.Listening(utterances, rows=16, seed=0, config=MINI_FEATURES)
    optim = OptimConfig(lr=2e-3, warmup=100, schedule="cosine", ema=0.99)
    trained = _train(name, objective, batches, 1400, optim, work)
    if not trained.finished:
        return None
    objective.eval()
    listen.measure_statistics(model, utterances[:400])
    facts = {"steps": trained.step, "seconds": round(trained.seconds), "data": _told(work, 4000)}
    facts["phone_accuracy_unseen"] = round(listen.accuracy(objective, held), 4)
    listen.export_features(model, work.weights, torch.float32, facts, MINI_FEATURES)
    return facts


def semantic_codec(work: Work, name: str) -> dict[str, Any] | None:
    """Features to one stream of tokens."""
    extract = open_source(work.weights).features()
    with recordings() as made, torch.inference_mode():
        heard = [
            extract(made.said(number)[0].at(FEATURE_SAMPLE_RATE))[0].half() for number in range(work.some(3000, 8))
        ]
    codec = new_codec(MINI_SEMANTIC, seed=0)
    objective = SemanticCodecObjective(codec)
    batches = FeatureCrops(heard, rows=32, frames=96, seed=0)
    optim = OptimConfig(lr=1e-3, warmup=100, schedule="cosine", ema=0.99)
    trained = _train(name, objective, batches, 1500, optim, work)
    if not trained.finished:
        return None
    facts = {"steps": trained.step, "seconds": round(trained.seconds), "data": _told(work, 3000)}
    facts["perplexity"] = round(float(objective.care.perplexity()), 1)
    file = FILES["semantic_codec"]
    write_weights(place(file, work.weights), codec.state_dict(), MINI_SEMANTIC, file.config, torch.float32, facts)
    return facts


def acoustic_codec(work: Work, name: str) -> dict[str, Any] | None:
    """Waveforms to four codebooks and back: without codebooks first, then those, then the vocoder on them."""
    with recordings() as made:
        waves = [pcm(made.said(number)[0]) for number in range(work.some(3000, 8))]
    encoder, decoder = new_acoustic(MINI_ACOUSTIC, seed=0)
    if work.scale and shutil.which("g++"):  # activations at the rate of samples, fused: a step takes 0.6 of the time
        encoder.compile(dynamic=False)
    crops = [WaveCrops(waves, rows=10, samples=48 * MINI_ACOUSTIC.hop, seed=seed) for seed in range(3)]
    optim = OptimConfig(lr=1e-3, warmup=100, schedule="cosine", ema=0.995)
    decoder.quantizer.requires_grad_(False)
    smooth = AcousticCodecObjective(encoder, decoder, quantized=False, quiet=HUSH)
    trained = _train(f"{name}_latents", smooth, crops[0], CODEC_STEPS[0], optim, work, precision="fp32")
    if not trained.finished:
        return None
    first = trained.seconds
    seen = itertools.islice(filter(None, map(crops[1], itertools.count())), work.some(100, 2))
    fit_codes(encoder, decoder, seen, seed=0)
    freeze_codes(encoder, decoder)
    coded = AcousticCodecObjective(encoder, decoder, quiet=HUSH)
    optim = dataclasses.replace(optim, lr=5e-4)
    trained = _train(name, coded, crops[2], CODEC_STEPS[1], optim, work, precision="fp32")
    if not trained.finished:
        return None
    facts = {"steps": [work.some(CODEC_STEPS[0], 2), trained.step], "seconds": round(first + trained.seconds)}
    facts["data"] = _told(work, 3000)
    for part, tensors in states(coded).items():  # what codes were made with is what is shipped: half precision
        file = FILES[part]
        write_weights(place(file, work.weights), tensors, MINI_ACOUSTIC, file.config, torch.float16, facts)
    return facts


def visual(work: Work, name: str) -> dict[str, Any] | None:
    """The stand-in for the encoder of lips."""
    with recordings() as made, recordings("recogniser") as other:
        seen, held = watch.filmed(made, range(work.some(1500, 8))), watch.filmed(other, range(work.some(HELD, 4)))
    encoder = watch.small_encoder()
    objective = watch.WatchObjective(encoder)
    batches = watch.Watching(seen, rows=16, seed=0)
    optim = OptimConfig(lr=3e-3, warmup=100, schedule="cosine", ema=0.99)
    trained = _train(name, objective, batches, 900, optim, work, precision="fp32")
    if not trained.finished:
        return None
    watch.settle_norms(encoder, batches, work.some(50, 2))
    objective.eval()
    facts = {"steps": trained.step, "seconds": round(trained.seconds), "data": _told(work, 1500)}
    facts["phone_accuracy_unseen"] = round(watch.accuracy(objective, held), 4)
    watch.export_visual(encoder, work.weights, torch.float32, facts)
    return facts


def recogniser(work: Work, name: str) -> dict[str, Any] | None:
    """What listens to what the others say; of its own split, of which some voices are held out."""
    with recordings("recogniser") as made:
        ours = len(made.voices) - HELD_VOICES
        seen = itertools.islice((n for n in itertools.count() if n % len(made.voices) < ours), work.some(4000, 8))
        held = itertools.islice((n for n in itertools.count() if n % len(made.voices) >= ours), 2 * work.some(HELD, 4))
        clips = [(made.said(n)[0].at(FEATURE_SAMPLE_RATE).numpy(), made.text(n)) for n in held]
        utterances, words = listen.recorded(made, seen), hear.lexicon(made, work.some(1500, 8))
    network = hear.new_network()
    optim = OptimConfig(lr=2e-3, warmup=100, schedule="cosine", ema=0.99)
    objective, batches = hear.HearObjective(network), hear.hearing(utterances, rows=24, seed=0)
    trained = _train(name, objective, batches, 2000, optim, work)
    if not trained.finished:
        return None
    hear.set_prior(network, utterances)
    found = hear.tuned(network.eval(), words, clips[::2])
    clips = clips[1::2]  # of the other half of the held voices
    facts = {"steps": trained.step, "seconds": round(trained.seconds), "data": "voices and sentences of its own split"}
    facts |= {"prior": found.search.prior, "insertion": found.search.insertion}
    facts["word_error_rate_held_voices"] = round(hear.rate(found, clips), 4)
    for db in hear.TEST_DB:
        disturbed = [(hear.noisy(samples, db, i), text) for i, (samples, text) in enumerate(clips)]
        facts[f"word_error_rate_{db}_db"] = round(hear.rate(found, disturbed), 4)
    hear.export(found, work.weights, facts)
    return facts


@dataclass(frozen=True)
class Tokens:
    """A data set of the build, and a small one like it to validate with, of other voices and sentences.

    want: see `tokenize`; count: utterances; copies: simulations of each; single: utterances of one sentence only
    """

    want: tuple[Content, ...]
    count: int
    task: Task | None = None
    copies: int = 1
    single: bool = False

    def __call__(self, work: Work, name: str) -> dict[str, Any]:
        """Write the shards of both."""
        self._write(work, held_of(name), "recogniser", work.some(HELD_DATA, 8), 1)
        return self._write(work, name, "training", work.some(self.count, 8), self.copies)

    def _write(self, work: Work, name: str, split: Split, count: int, copies: int) -> dict[str, Any]:
        source, out = open_source(work.weights), work.folder / "data" / name
        with recordings(split) as made, counting(name) as show:
            utterances = made.utterances(count, single=self.single)
            world = World(CHANCES, SyntheticNoise(Voices.of(utterances)), voices=Voices.of(utterances))
            report = tokenize(
                utterances, out, source, want=self.want, task=self.task, copies=copies, world=world,
                progress=lambda r: show(r.done, r.total),
            )  # fmt: skip
        if report.failures:
            first = report.failures[0]
            raise InputError(f"{len(report.failures)} utterances of {name} failed; {first.key}: {first.reason}")
        return {"examples": report.examples, "hours": round(report.seconds / 3600, 2)}


@dataclass(frozen=True)
class Masked:
    """A stage 1 or an S2A.

    recipe: its name; data: data sets of the build, `TASK=` before each in a mixture
    """

    recipe: str
    data: tuple[str, ...]

    def __call__(self, work: Work, name: str) -> dict[str, Any] | None:
        """Train, and put the weights with the others."""
        recipe = load(self.recipe)
        recipe = recipe.model_copy(update={"steps": work.some(recipe.steps, 2)})
        data = [placed(entry, work.folder / "data") for entry in self.data]
        held = [held_of(entry) for entry in data]
        start = None if recipe.start == "scratch" else work.weights
        trained, paths = run(recipe, data, work.run(name), start=start, validation=held, minutes=work.left(), cpu=True)
        if not trained.finished:
            return None
        for path in paths:
            for file in (path, path.with_suffix(PROVENANCE), config_path(path)):
                if file.is_file():
                    to = work.weights / file.relative_to(work.run(name) / WEIGHTS)
                    to.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, to)
        return {"steps": trained.step, "seconds": round(trained.seconds)}


def held_of(data: str) -> str:
    """The data set that validates training on another."""
    return f"{data}-held"


def _train(
    stage: str,
    objective: Objective,
    batches: Batches[Any],
    steps: int,
    optim: OptimConfig,
    work: Work,
    precision: Precision = "bf16",
) -> Trained:
    steps = work.some(steps, 2)
    config = LoopConfig(steps, optim, precision=precision, checkpoint_every=500, minutes=work.left(), cpu=True)
    with falling(stage, steps) as show:
        return train(objective, batches, config, work.run(stage), progress=show)


CHANCES = Chances(prompt_share=0.6, prompt_s=1.0)  # prompts are about as long as targets
STAGES: dict[str, Callable[[Work, str], dict[str, Any] | None]] = {
    "features": features,
    "semantic_codec": semantic_codec,
    "tokens": Tokens(("semantic", "phones"), UTTERANCES),
    "base": Masked("mini-base", ("tokens",)),
    "sentences": Tokens(("semantic", "phones"), UTTERANCES, single=True),  # as it is spoken: without a prompt before
    "tts": Masked("mini-tts", ("sentences",)),
    "acoustic_codec": acoustic_codec,
    "codes": Tokens(("semantic", "codes"), 5000),
    "first": Masked("mini-s2a-first", ("codes",)),
    "fine": Masked("mini-s2a-fine", ("codes",)),
    "vc_data": Tokens(("semantic",), 2000, "vc"),
    "tse_data": Tokens(("semantic", "phones"), 3000, "tse", 2),
    "se_data": Tokens(("semantic", "phones"), 3000, "se", 2),
    "vc": Masked("mini-vc", ("vc_data",)),
    "tse": Masked("mini-tse", ("tse_data",)),
    "se": Masked("mini-se", ("se_data",)),
    "visual": visual,
    "l2s_data": Tokens(("semantic",), 2500, "l2s"),
    "l2s": Masked("mini-l2s", ("l2s_data",)),
    "recogniser": recogniser,
    "omni": Masked("mini-omni", ("tts=sentences", "vc=vc_data", "tse=tse_data", "se=se_data")),
}


def adopt(work: Work, family: Path) -> None:
    """Put the weights and cards of a family where stages look for what they need; what is there already stays."""
    for path in family.rglob("*"):
        to = work.weights / path.relative_to(family)
        if path.is_file() and not to.exists():
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, to)


def _told(work: Work, count: int) -> str:
    return f"{work.some(count, 8)} utterances of the training split"


def build(work: Work, only: list[str] | None = None) -> None:
    """Run all stages, or some, in order; stops where a stage could not be finished in this slice.

    Errors: InputError where the folder was begun at another scale
    """
    _claim(work)
    for name, stage in STAGES.items():
        done = work.folder / "done" / f"{name}.json"
        if done.is_file() or (only and name not in only):
            continue
        facts = stage(work, name)
        if facts is None:
            return
        done.parent.mkdir(parents=True, exist_ok=True)
        done.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _claim(work: Work) -> None:
    """What was made to see that all stages run must never be taken for the real thing."""
    path = work.folder / "scale"
    before = path.read_text(encoding="utf-8").strip() if path.is_file() else f"{work.scale:g}"
    if before != f"{work.scale:g}":
        raise InputError(
            f"{work.folder} was begun with --scale {before}, not {work.scale:g}",
            fix="choose another --work, or remove this one",
        )
    work.folder.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{work.scale:g}\n", encoding="utf-8")
