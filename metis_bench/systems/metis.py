"""Metis, the reference model (`reference_models`), as systems: one for each task, and Omni for all of them.

Weights lie in the folder `checkpoints` of metis-bench.yaml or in the Hugging Face cache; `metis-bench doctor` lists
them. Variants with other files or settings are a few lines of YAML: `suites/_systems/metis.yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field as Limit

from metis_bench.audio import Audio
from metis_bench.corpora.base import ALL_TASKS, Need, Params, Task
from metis_bench.errors import ItemError, SuiteError
from metis_bench.hashing import JSON, sha256_path
from metis_bench.systems.base import Request, System, systems
from metis_bench.systems.told import told
from metis_bench.systems.weights import RANDOM, caveat_of, checkpoints_of, content, numbers, small, weight_files

if TYPE_CHECKING:
    from reference_models.jobs import Job
    from reference_models.speech import Speech
    from reference_models.variants import Stage1Files

ONLY_FOR: dict[str, set[Task]] = {  # parameter -> tasks that look at it
    "duration": {"tts"},
    "length_rule": {"tts"},
    "stage1_prompt": {"tts"},
    "guided_by_text": {"tse", "se"},
    "prompt": {"l2s"},
    "prompt_s": {"vc", "tse", "l2s"},
}
OWN_FILES = {"stage1": "checkpoint", "adapter": "adapter", "lora": "lora"}  # parameter -> field of Stage1Files
TEXT_PACKAGES = ("espeakng-loader", "inflect", "pypinyin", "jieba", "cn2an")


class MetisParams(Params):
    """Which weights, and how to decode. What is None is the paper's value for the task.

    checkpoint: a folder in the layout of the release instead of the machine's own; mini: the small models that come
                with the package; random-tiny and random-full need no files and speak noise: they show how fast it runs
    variant:    which stage 1 of the release (metis_bench ls systems; `reference_models/variants.py`)
    stage1, adapter, lora: files of your own instead of the variant's, relative to where the command runs; a lora is
                merged into the base unless stage1 is given; lora_alpha: twice the rank if not given
    mode:       fixed, or official: what the release does, to the token, one item at a time
    duration:   tts: a rule on the texts, or the ground truth's length
    length_rule: tts: the rule, by phones (paper) or by bytes (release)
    stage1_prompt: tts: stage 1 continues the prompt (paper); without, only S2A hears it
    guided_by_text: omni: the item's text is an input for tse and se as well
    prompt:     l2s: use the item's voice prompt
    prompt_s:   vc, tse, l2s: of the prompt, the first so many seconds (a prompt with a text is never cut)
    steps, guidance, temperature: of stage 1
    batch:      items at once; without: one on a CPU, as many as fit on a GPU. Another number rounds differently
    compile:    compile the models first (minutes, once); faster for long runs, rounds differently
    """

    checkpoint: str | None = None
    variant: str | None = None
    stage1: str | None = None
    adapter: str | None = None
    lora: str | None = None
    lora_alpha: float | None = Limit(None, gt=0)
    mode: Literal["fixed", "official"] = "fixed"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    duration: Literal["rule", "ground-truth"] = "rule"
    length_rule: Literal["phones", "bytes"] | None = None
    stage1_prompt: bool = True
    guided_by_text: bool = False
    prompt: bool = True
    prompt_s: float | None = Limit(None, gt=0, le=60)
    steps: int | None = Limit(None, ge=1, le=1000)
    guidance: float | None = Limit(None, ge=0, le=20)
    temperature: float | None = Limit(None, gt=0, le=10)
    batch: int | None = Limit(None, ge=1, le=256)
    compile: bool = False


class ReferenceSystem(System):
    """What all tasks share. `own_variant`: the stage 1 that the system's name means."""

    kind = "reference"
    deterministic = False
    extra = "text"
    uses_gpu = True
    place_params = ("checkpoint", "stage1", "adapter", "lora")
    params_type = MetisParams
    params: MetisParams
    own_variant: str

    def needs_for(self, task: Task) -> frozenset[Need]:
        """What the task is, with the parameters' additions."""
        needs: dict[Task, set[Need]] = {
            "tts": {"text", "prompt", "prompt_text"},
            "vc": {"source", "prompt"},
            "tse": {"source", "prompt"},
            "se": {"source"},
            "l2s": {"video", "prompt"} if self.params.prompt else {"video"},
        }
        extra: set[Need] = set()
        if task == "tts" and self.params.duration == "ground-truth":
            extra |= {"duration"}
        if task in ("tse", "se") and self.params.guided_by_text:
            extra |= {"text"}
        return frozenset(needs[task] | extra)

    def check(self) -> None:
        """Raise MissingPrerequisite when a package or a checkpoint is not here, SuiteError for what makes no sense."""
        super().check()
        self._check_params()
        self._check_variant()
        if self._where() not in RANDOM:
            self._files()

    def _check_params(self) -> None:
        """Refuse parameters that would silently have no effect."""
        idle = {name for name, tasks in ONLY_FOR.items() if not tasks & self.tasks}
        idle |= set(OWN_FILES) if self._where() in RANDOM else set()  # random weights read no files
        idle |= {"lora_alpha"} if self.params.lora is None else set()
        defaults = type(self.params)()
        for name in sorted(idle):
            if getattr(self.params, name) != getattr(defaults, name):
                raise SuiteError(f"the parameter '{name}' has no effect here", fix="leave it out")

    def _check_variant(self) -> None:
        """Refuse a stage 1 of the release that cannot do what the system is for (loading tells of one's own files)."""
        config = self._stage1().config
        if self.params.stage1 is not None or self.params.adapter is not None:
            return
        for task in sorted(self.tasks):
            adapter = {"tts": config.adapter, "l2s": "plain"}.get(task, "gated")
            text = "text" in self.needs_for(task)
            if config.adapter != adapter or (text and not config.phones):
                name = self.params.variant or self.own_variant
                raise SuiteError(f"the stage 1 '{name}' cannot do {task}{' with a text' if text else ''}")

    def identity(self) -> JSON:
        """The content of every file it reads, by its part in the whole."""
        if self._where() in RANDOM:
            known: dict[str, JSON] = {"weights": self._where()}
        else:
            known = {p: content(f) for p, f in sorted(self._files().items())}
        return {**known, **self._reading()} if self._takes("text") else known

    def _reading(self) -> dict[str, JSON]:
        """Files beside the weights that change how texts are read."""
        from reference_models.espeak import LIBRARY_VARIABLE
        from reference_models.hub import folder_of
        from reference_models.text.mandarin_resources import SOURCES

        where, library = self._where(), os.environ.get(LIBRARY_VARIABLE)
        known: dict[str, JSON] = {}
        folder = None if where in RANDOM else folder_of(where)
        if folder is not None and (sources := folder / SOURCES).is_dir():
            known["mandarin"] = sha256_path(sources)
        if library:  # a path, or a name that the system's loader resolves
            known["espeak"] = sha256_path(Path(library)) if Path(library).is_file() else library
        return known

    def caveat(self) -> str | None:
        """Random weights speak noise, and the mini family knows nothing but the mini corpus."""
        return caveat_of(self._where())

    def setup(self) -> None:
        """Load all parts that its tasks use."""
        import torch

        from reference_models.checkpoints import open_source
        from reference_models.pipeline import Metis

        device = "cuda" if torch.cuda.is_available() else "cpu"
        with told():
            source = open_source(self._where(), dtype=getattr(torch, self.params.dtype), device=device)
            self._metis = Metis(
                source, self._stage1(), official=self.params.mode == "official", compiled=self.params.compile
            )
            self._metis.parts.load(
                prompts=self._takes("prompt"), speech=self._takes("prompt", "source"), lips=self._takes("video")
            )

    def generate(self, request: Request) -> Audio:
        """One output at 24 kHz. Raises ItemError for inputs that cannot be used."""
        with told():
            speech = self._metis.generate([self._job(request)], **self._changes())[0]
        return Audio(speech.samples, speech.rate)

    def generate_all(self, requests: Sequence[Request]) -> Iterator[Audio | ItemError]:
        """Together; one by one where one of them cannot be used, so that it alone fails."""
        if len(requests) == 1:
            yield from super().generate_all(requests)
            return
        try:
            with told():
                made = self._metis.generate(
                    [self._job(r) for r in requests], batch_size=len(requests), **self._changes()
                )
        except ItemError:
            yield from super().generate_all(requests)
        else:
            yield from (Audio(speech.samples, speech.rate) for speech in made)

    def alone(self) -> bool:
        """Not with small weights."""
        return not small(self._where())

    def batch_on(self, gpu: bool) -> int:
        """As the parameter says; on a CPU a batch is hardly faster than its items."""
        from reference_models.config import ON_GPU

        one = self.params.mode == "official" or not gpu
        return self.params.batch or (1 if one else ON_GPU)

    def _changes(self) -> dict[str, Any]:
        names = {"length_rule", "stage1_prompt", "steps", "guidance", "temperature"}
        return self.params.model_dump(include=names, exclude_none=True)

    def _job(self, request: Request) -> Job:
        from reference_models.jobs import Job

        given: dict[str, Any] = {name: getattr(request, name) for name in self.needs_for(request.task)}
        seconds = given.pop("duration", None)
        for name in given.keys() & {"prompt", "source"}:
            given[name] = _speech(given[name])
        if self.params.prompt_s is not None and request.task in ONLY_FOR["prompt_s"]:
            given["prompt"] = given["prompt"].first(self.params.prompt_s)
        return Job(
            request.task,
            **given,
            language=request.language,
            seed=request.seed,
            seconds=seconds,
        )

    def _where(self) -> str | None:
        return checkpoints_of(self.params.checkpoint)

    def _stage1(self) -> Stage1Files:
        """The variant's files, with the user's own in their place."""
        from dataclasses import replace

        from reference_models.variants import variant_files

        with told():
            files = variant_files(self.params.variant or self.own_variant)
        own = {field: getattr(self.params, name) for name, field in OWN_FILES.items()}
        changes: dict[str, Any] = {field: Path(path) for field, path in own.items() if path is not None}
        if self.params.lora is not None:  # of any rank, and for the base unless stage1 says otherwise
            changes = {"checkpoint": "metis_base", "rank": None, "alpha": self.params.lora_alpha, **changes}
        return replace(files, **changes)

    def _takes(self, *fields: Need) -> bool:
        """Whether any of its tasks reads one of these fields of an item."""
        return any(self.needs_for(task) & set(fields) for task in self.tasks)

    def parts(self) -> dict[str, str | Path]:
        """Every weight file that it reads, by its part in the whole: a name in `registry.FILES` or a user's file."""
        stage1 = self._stage1()
        names = ["maskgct_s2a_model_1layer", "maskgct_s2a_model_full", "acoustic_codec_decoder"]
        if self._takes("prompt"):
            names += ["semantic_codec", "acoustic_codec_encoder"]
        if self._takes("prompt", "source"):
            names += ["w2v_bert_2.0", "wav2vec2bert_stats"]
        if self._takes("video"):
            names += ["vis_model"]
        own = {"stage1": stage1.checkpoint, "adapter": stage1.adapter, "lora": stage1.lora}
        return {part: file for part, file in own.items() if file is not None} | {name: name for name in names}

    def sizes(self) -> Mapping[str, int]:
        """Of all files, and of those that its task was fine-tuned in: a LoRA and the adapter, or all of stage 1."""
        if self._where() in RANDOM:
            return {}
        found = {part: numbers(file) for part, file in self._files().items()}
        tuned = ("adapter", "lora") if "lora" in found else ("adapter", "stage1")
        return {"parameters": sum(found.values()), "trained": sum(found.get(part, 0) for part in tuned)}

    def _files(self) -> dict[str, Path]:
        return weight_files(self.parts(), self._where())


@systems.register("metis-tts")
class MetisTTS(ReferenceSystem):
    """Metis-TTS: MaskGCT's text-to-semantic model with Metis' decoding."""

    tasks = frozenset({"tts"})
    needs = frozenset({"text", "prompt", "prompt_text", "duration"})
    packages = TEXT_PACKAGES
    own_variant = "tts"


@systems.register("metis-vc")
class MetisVC(ReferenceSystem):
    """Metis-VC: the source's semantic features, the prompt's voice."""

    tasks = frozenset({"vc"})
    needs = frozenset({"source", "prompt"})
    own_variant = "vc"


@systems.register("metis-tse")
class MetisTSE(ReferenceSystem):
    """Metis-TSE: the enrolled speaker out of a mixture."""

    tasks = frozenset({"tse"})
    needs = frozenset({"source", "prompt", "text"})
    own_variant = "tse"


@systems.register("metis-se")
class MetisSE(ReferenceSystem):
    """Metis-SE: speech without its noise. No prompt: the voice comes from the semantic tokens alone."""

    tasks = frozenset({"se"})
    needs = frozenset({"source", "text"})
    own_variant = "se"


@systems.register("metis-l2s")
class MetisL2S(ReferenceSystem):
    """Metis-L2S: what lips say, in the prompt's voice or, without one, in any."""

    tasks = frozenset({"l2s"})
    needs = frozenset({"video", "prompt"})
    packages = ("av", "opencv-python-headless")
    extra = "lips"
    own_variant = "l2s"


@systems.register("metis-omni")
class MetisOmni(ReferenceSystem):
    """Metis-Omni: one model for TTS, VC, TSE and SE, the latter two with or without the text."""

    tasks = ALL_TASKS - {"l2s"}
    needs = frozenset({"text", "prompt", "prompt_text", "source", "duration"})
    packages = TEXT_PACKAGES
    own_variant = "omni"


def _speech(audio: Audio | None) -> Speech | None:
    from reference_models.speech import Speech

    return None if audio is None else Speech(audio.samples, audio.rate)
