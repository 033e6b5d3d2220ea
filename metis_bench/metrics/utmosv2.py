"""UTMOSv2: predicted naturalness without a reference (Baba et al. 2024, arXiv 2409.09305), by its own package.

Optional: it needs the package `utmosv2` and its weights. Source: sarulab-speech/UTMOSv2@cc2700d utmosv2/_core (the
public API), utmosv2/dataset (what is random: which pieces of a clip are looked at, drawn from numpy's generator).
"""

from __future__ import annotations

import contextlib
import importlib.util
import pickle
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from pydantic import Field as Bounded

from metis_bench.audio import F32
from metis_bench.corpora.base import ALL_TASKS, Field, Params
from metis_bench.errors import MissingPrerequisite
from metis_bench.hashing import JSON, sha256_bytes, sha256_json
from metis_bench.metrics.alignment import is_silent
from metis_bench.metrics.base import Clip, Column, Extractor, Metric, Sample, Score, Undefined, metrics
from metis_bench.metrics.weights import Weights, content
from metis_bench.systems.base import require_package

RATE = 16_000
FOLDS = (0, 1, 2, 3, 4)
INSTALL = 'pip install "git+https://github.com/sarulab-speech/UTMOSv2.git@v1.3.0"'
BACKBONES = {  # which the package asks the Hugging Face hub for by name, and then overwrites with its own weights
    "facebook/wav2vec2-base": ("config.json", "preprocessor_config.json", "model.safetensors|pytorch_model.bin"),
    "timm/tf_efficientnetv2_s.in21k_ft_in1k": ("model.safetensors|pytorch_model.bin",),
}
Domain = Literal[
    "sarulab", "bvcc", "somos", "blizzard2008", "blizzard2009", "blizzard2011",
    "blizzard2010-EH1", "blizzard2010-EH2", "blizzard2010-ES1", "blizzard2010-ES3",
]  # fmt: skip


class Utmosv2Params(Params):
    """The package's own defaults; the paper's protocol is `fold: all, repetitions: 5, remove_silent_section: false`.

    fold: which of five trained models, or the mean of all;  repetitions: draws of pieces that are averaged
    predict_dataset: the listening test that is predicted;  seed: of the draws, with each clip's samples
    remove_silent_section: leave out where 0.3 s in a row stay under 0.1;  device: half precision on CUDA, full on CPU
    """

    fold: Literal[0, 1, 2, 3, 4, "all"] = 0
    repetitions: int = Bounded(default=1, ge=1, le=100)
    predict_dataset: Domain = "sarulab"
    seed: int = Bounded(default=0, ge=0)
    remove_silent_section: bool = True
    device: Literal["cuda", "cpu"] = "cuda"

    @property
    def folds(self) -> tuple[int, ...]:
        """The folds to be averaged."""
        return FOLDS if self.fold == "all" else (self.fold,)

    @property
    def column(self) -> str:
        """`utmosv2`, and what is not as the package has it: `utmosv2.fold-all.repetitions-5`. Not the device."""
        said = self.model_dump(mode="json", exclude={"device"}, exclude_defaults=True)
        return ".".join(["utmosv2", *(f"{name.replace('_', '-')}-{value}".lower() for name, value in said.items())])


def fold_weights(fold: int) -> Weights:
    """The file of one fold."""
    name = f"fold{fold}_s42_best_model.pth"
    return Weights(
        name,
        licence="its repository is MIT",
        gigabytes=0.7,
        others=(f"~/.cache/utmosv2/models/fusion_stage3/{name}",),
        get=f"hf download sarulab-speech/UTMOSv2 {name}",
    )


@contextlib.contextmanager
def drawn_with(seed: int) -> Iterator[None]:
    """numpy's and torch's global generators, which the package draws from, seeded here and put back afterwards."""
    import torch

    state = np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(state)


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Scoring downloads nothing, whatever the package would do."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@lru_cache(maxsize=len(FOLDS))
def _model(fold: int, path: Path, device: str) -> Any:
    import utmosv2

    try:
        with offline(), contextlib.redirect_stdout(sys.stderr):  # it prints; stdout is for data
            return utmosv2.create_model(pretrained=True, fold=fold, checkpoint_path=path, device=device)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingPrerequisite(f"utmosv2 cannot load its model: {reason}", where=path) from None


class Utmosv2Network(Extractor):
    """The scores of the folds as a feature: one clip at a time, its crops drawn from (seed, fold, samples)."""

    kind, name = "network", "utmosv2"
    network = True

    def __init__(self, params: Utmosv2Params) -> None:
        self.params = params

    def signature(self) -> Mapping[str, JSON]:
        """The package's version, the bytes of each fold, and every parameter."""
        weights = [content(fold_weights(fold).require("metric 'utmosv2'")) for fold in self.params.folds]
        package = f"utmosv2 {require_package('utmosv2', 'metric utmosv2', self.extra)}"
        params: dict[str, JSON] = self.params.model_dump(mode="json")
        return {"metric": "utmosv2", "version": 1, "package": package, "weights": weights, "rate": RATE, **params}

    def extract(self, clip: Clip) -> JSON:
        """One score a fold. Raises Undefined for silence, and for clips of which nothing is left."""
        audio = clip.audio(RATE).samples
        if is_silent(audio):
            raise Undefined("silence: the output is constant")
        values = [self._predict(fold, audio) for fold in self.params.folds]
        if not np.isfinite(values).all():
            raise Undefined("not_finite: UTMOSv2 returned NaN")
        return cast(JSON, values)

    def _predict(self, fold: int, audio: F32) -> float:
        model = _model(fold, fold_weights(fold).require("metric 'utmosv2'"), self.params.device)
        seed = int(sha256_json([self.params.seed, fold, sha256_bytes(audio.tobytes())])[:8], 16)
        with drawn_with(seed), contextlib.redirect_stdout(sys.stderr):
            try:
                mos = model.predict(
                    data=np.array(audio),
                    sr=RATE,
                    predict_dataset=self.params.predict_dataset,
                    device=self.params.device,
                    num_workers=0,
                    batch_size=1,
                    num_repetitions=self.params.repetitions,
                    remove_silent_section=self.params.remove_silent_section,
                    verbose=False,
                )
            except ZeroDivisionError:  # it repeats a short clip until it is long enough; this one has become empty
                raise Undefined("too_quiet: nothing is left where UTMOSv2 removes what stays under 0.1") from None
        return float(mos[0])


@metrics.register("utmosv2")
class Utmosv2(Metric):
    """Optional and meant for a GPU. The crops of a clip are drawn from (seed, fold, samples): order changes nothing.

    Silence is undefined, and so are clips of which `remove_silent_section` leaves nothing (all under 0.1).
    """

    tasks = ALL_TASKS
    params_type = Utmosv2Params
    params: Utmosv2Params

    @property
    def needs(self) -> frozenset[Field]:
        """Nothing: it only listens to the output."""
        return frozenset()

    @property
    def extracts(self) -> tuple[tuple[Extractor, Literal["output"]], ...]:
        """The network's scores of the output."""
        return ((Utmosv2Network(self.params), "output"),)

    @property
    def columns(self) -> tuple[Column, ...]:
        """One column, `utmosv2`, with the parameters that are not the package's own."""
        how = f"fold {self.params.fold}, {self.params.repetitions} draws, as in {self.params.predict_dataset}"
        return (Column(self.params.column, "UTMOSv2", "higher", 1.0, help=f"Predicted naturalness (UTMOSv2: {how})."),)

    def check(self) -> None:
        """Raise MissingPrerequisite when the package, its weights or the device are missing."""
        if importlib.util.find_spec("utmosv2") is None:
            raise MissingPrerequisite(
                "metric 'utmosv2' needs the Python package 'utmosv2', which is not installed", fix=INSTALL
            )
        for fold in self.params.folds:
            fold_weights(fold).require("metric 'utmosv2'")
        for repo, files in BACKBONES.items():
            if Weights(repo, licence="", gigabytes=0.4, files=files, repo=repo).find() is None:
                raise MissingPrerequisite(
                    f"metric 'utmosv2' needs {repo}, which is not in the Hugging Face cache", fix=f"hf download {repo}"
                )
        if self.params.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                fix = "run it where there is one, or set the parameter  device: cpu  (slow)"
                raise MissingPrerequisite("metric 'utmosv2' needs a GPU", fix=fix)

    def signature(self) -> Mapping[str, JSON]:
        """The network's."""
        return Utmosv2Network(self.params).signature()

    def score(self, sample: Sample) -> dict[str, Score]:
        """The mean over folds. Raises Undefined for silence, and for clips of which nothing is left."""
        folds = cast("list[float]", sample.feature(Utmosv2Network(self.params), sample.output))
        return {self.params.column: Score("ok", float(np.mean(folds)), detail={"folds": [*folds]})}
