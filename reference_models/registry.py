"""Every weight file of the official release: where it is kept, what it is called, what is in it.

None of these files could be opened while this was written. Names come from the release's code (`Amphion:models/tts`:
metis/*.py, metis/config/*.json, maskgct/*.py); those that no line of code gives are marked as guesses. What they hold
follows from the official configurations: names and shapes are those of our models, built without memory (`expected`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import torch
from torch import nn

from reference_models.acoustic import S2A
from reference_models.codecs.acoustic import AcousticDecoder, AcousticEncoder
from reference_models.codecs.semantic import SemanticCodec
from reference_models.config import (
    AcousticCodecConfig,
    FeaturesConfig,
    S2AConfig,
    SemanticCodecConfig,
    Stage1Config,
    VisualConfig,
)
from reference_models.features import SemanticFeatures
from reference_models.lips.visual import VisualEncoder
from reference_models.loading import Tensors
from reference_models.lora import ADDED, PREFIX, attach, extract
from reference_models.sizes import Config
from reference_models.stage1 import Stage1

Kind: TypeAlias = Literal[
    "stage1",
    "lora",
    "adapter",
    "wrapped",
    "s2a",
    "semantic_codec",
    "acoustic_encoder",
    "acoustic_decoder",
    "features",
    "statistics",
    "visual",
]
NameStatus: TypeAlias = Literal["in code", "guess", "not shipped"]

BASE = Stage1Config()
TTS = Stage1Config(phones=True)
SPEECH = Stage1Config(adapter="gated")  # VC, TSE and SE: w2v-BERT features of what is to be changed
LIPS = Stage1Config(adapter="plain", condition_dim=VisualConfig().dim)
OMNI = Stage1Config(adapter="gated", phones=True)  # its own config is missing from the release: inferred
FIRST, FINE = S2AConfig(num_quantizers=1, first_layer=True), S2AConfig()

METIS, MASKGCT, W2V_BERT, AMPHION = "amphion/metis", "amphion/MaskGCT", "facebook/w2v-bert-2.0", "open-mmlab/Amphion"
AMPHION_COMMIT = "d3de90f02e7f1c7dbc24b04d52fe1b8ef438effe"
STATISTICS = "models/tts/maskgct/ckpt/wav2vec2bert_stats.pt"
ABSENT = "reported absent from the hub in October 2025 (Amphion issue #465)"
UNSEEN = "the release's code never loads it, so its name is a guess"


@dataclass(frozen=True)
class CheckpointFile:
    """One file.

    file:        path in `repo`, a Hugging Face hub id (where `url` is set: a GitHub repository)
    config:      official sizes of the model; for LoRA and adapter files, of the stage 1 that they belong to
    numbers:     how many the file holds, buffers included; four bytes each in fp32
    name_status: "guess": the release lists the model, but its code does not say the name
    note:        what a user who does not find it should know
    companion:   a small file that is read with this one
    """

    name: str
    repo: str
    file: str
    kind: Kind
    config: Config
    numbers: int
    name_status: NameStatus = "in code"
    note: str = ""
    rank: int = 0
    companion: str = ""
    url: str = ""
    sha256: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Paths in the repository under which the file may be, the likeliest first."""
        if self.name_status == "guess" and self.kind == "stage1":
            return self.file, f"{self.file.rpartition('/')[0]}/model.safetensors"
        return (self.file,)

    @property
    def home(self) -> str:
        """The page that shows it."""
        return self.url or f"https://huggingface.co/{self.repo}/tree/main/{self.file.rpartition('/')[0]}".rstrip("/")


def fine_tune(
    task: str,
    rank: int,
    name_status: NameStatus = "in code",
    note: str = "",
    config: Stage1Config = SPEECH,
    numbers: int = 15_736_321,
) -> list[CheckpointFile]:
    """A LoRA and its adapter. The file names are of one form (`metis_infer_se.py`). numbers: of the adapter."""
    stem = f"metis_{task}_lora_{rank}"
    file = f"metis_{task}/{stem}"
    low_rank = rank * 565_248  # 16 layers, four projections 1536 -> 1536 and three between 1536 and 6144
    return [
        CheckpointFile(stem, METIS, f"{file}.safetensors", "lora", config, low_rank, name_status, note, rank),
        CheckpointFile(
            f"{stem}_adapter",
            METIS,
            f"{file}_adapter.safetensors",
            "adapter",
            config,
            numbers,
            name_status,
            note,
            rank,
        ),
    ]


def _stage1(
    name: str, folder: str, stem: str, config: Stage1Config, numbers: int, *how: Any, repo: str = METIS
) -> CheckpointFile:
    return CheckpointFile(name, repo, f"{folder}/{stem}.safetensors", "stage1", config, numbers, *how)


def _maskgct(name: str, path: str, kind: Kind, config: Config, numbers: int) -> CheckpointFile:
    return CheckpointFile(name, MASKGCT, f"{path}.safetensors", kind, config, numbers)


_TUNED = 741_681_153
_CODEC = AcousticCodecConfig()
_LISTED = [
    _stage1("metis_base", "metis_base", "model", BASE, 725_944_832),
    _stage1("maskgct_t2s", "t2s_model", "model", TTS, 746_399_744, repo=MASKGCT),  # this is Metis-TTS
    _stage1("metis_vc", "metis_vc", "metis_vc", SPEECH, _TUNED, "in code", ABSENT),
    _stage1("metis_tse_full", "metis_tse", "metis_tse", SPEECH, _TUNED, "guess", UNSEEN),
    _stage1("metis_se_full", "metis_se", "metis_se", SPEECH, _TUNED, "guess", UNSEEN),
    _stage1("metis_l2s", "metis_l2s", "metis_l2s", LIPS, 740_108_288, "guess", UNSEEN),
    _stage1("metis_omni", "metis_omni", "metis_omni", OMNI, 762_136_065),
    *fine_tune("tse", 32),
    *fine_tune("se", 32),
    *fine_tune("vc", 16, "guess", UNSEEN),  # the release has its configuration (vc.json)
    _maskgct("maskgct_s2a_model_1layer", "s2a_model/s2a_model_1layer/model", "s2a", FIRST, 330_348_544),
    _maskgct("maskgct_s2a_model_full", "s2a_model/s2a_model_full/model", "s2a", FINE, 353_439_744),
    _maskgct("semantic_codec", "semantic_codec/model", "semantic_codec", SemanticCodecConfig(), 44_289_808),
    _maskgct("acoustic_codec_encoder", "acoustic_codec/model", "acoustic_encoder", _CODEC, 42_540_224),
    _maskgct("acoustic_codec_decoder", "acoustic_codec/model_1", "acoustic_decoder", _CODEC, 128_198_082),
    CheckpointFile("w2v_bert_2.0", W2V_BERT, "model.safetensors", "features", FeaturesConfig(), 580_493_120),
    CheckpointFile(
        "wav2vec2bert_stats",
        AMPHION,
        STATISTICS,
        "statistics",
        FeaturesConfig(),
        2048,
        url=f"https://raw.githubusercontent.com/open-mmlab/Amphion/{AMPHION_COMMIT}/{STATISTICS}",
        sha256="c9c176c2b8850ab2e3ba828bbfa969deaf4566ce55db5f2687b8430b87526ad2",
    ),
    CheckpointFile(
        "vis_model",
        METIS,
        "metis_l2s/vis_model.pth",
        "visual",
        VisualConfig(),
        182_056_288,  # of the encoder; a decoder and a CTC head come with it, unread
        note="named by l2s.json; the module that loads it is not in the release",
        companion="metis_l2s/vis_model.json",
    ),
]
FILES: dict[str, CheckpointFile] = {file.name: file for file in _LISTED}
# What peft's wrapper of a LoRA fine-tune saves as a whole: nobody ships it, but it can be loaded.
WRAPPED = CheckpointFile(
    "metis_tse_lora_full_wrapped_state", "", "", "wrapped", SPEECH, 759_769_089, "not shipped", "", 32
)


FINE_TUNES = {"tts": TTS, "vc": SPEECH, "tse": SPEECH, "se": SPEECH, "l2s": LIPS, "omni": OMNI}  # what they take
_TRAINED = re.compile(rf"metis_({'|'.join(FINE_TUNES)})_lora_([1-9]\d*)(_adapter)?")
_ADDED_NUMBERS = {"tts": 20_454_912, "l2s": 14_163_456, "omni": 36_191_233}  # of adapters that take more than speech


def named(name: str) -> CheckpointFile | None:
    """The file of that name: of the release, or a LoRA (metis_tts_lora_8) of any task and rank that a user trained."""
    found = _TRAINED.fullmatch(name)
    if name in FILES or found is None:
        return FILES.get(name)
    task, rank, adapter = found[1], int(found[2]), found[3]
    numbers = _ADDED_NUMBERS.get(task, 15_736_321)
    note = "not of the release: metis-train writes it"
    return fine_tune(task, rank, "not shipped", note, FINE_TUNES[task], numbers)[1 if adapter else 0]


def state(file: CheckpointFile, config: Config | None = None) -> Tensors:
    """The tensors of such a file, newly initialised on torch's current device. config: of another size."""
    model: Any = BUILDERS[file.kind](config or file.config)
    if file.kind in ("lora", "wrapped"):
        wrapped = attach(model, file.rank)
        return extract(wrapped)[0] if file.kind == "lora" else wrapped.state_dict()
    tensors: Tensors = model.state_dict()
    if file.kind == "adapter":
        return {PREFIX + name: tensor for name, tensor in tensors.items() if name.startswith(ADDED)}
    return tensors


def expected(name: str) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of an official file by their names. Errors: KeyError for an unknown file."""
    with torch.device("meta"):
        return {key: tuple(tensor.shape) for key, tensor in state({**FILES, WRAPPED.name: WRAPPED}[name]).items()}


class _Statistics(nn.Module):
    """Mean and variance of w2v-BERT's hidden states, as their file names them."""

    def __init__(self, config: FeaturesConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(config.hidden_size))
        self.register_buffer("var", torch.ones(config.hidden_size))


def _all_layers(config: FeaturesConfig) -> nn.Module:
    """The whole of w2v-BERT, as its file holds it."""
    return SemanticFeatures(replace(config, layer=config.num_layers)).model


BUILDERS: dict[Kind, Callable[[Any], nn.Module]] = {
    "stage1": Stage1,
    "lora": Stage1,
    "adapter": Stage1,
    "wrapped": Stage1,
    "s2a": S2A,
    "semantic_codec": SemanticCodec,
    "acoustic_encoder": AcousticEncoder,
    "acoustic_decoder": AcousticDecoder,
    "features": _all_layers,
    "statistics": _Statistics,
    "visual": VisualEncoder,
}
