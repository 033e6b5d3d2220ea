"""Ready modules from weight files, or with random weights: two implementations of `Source`.

Stage 1 and S2A take the dtype that is asked for. The codecs, w2v-BERT and the lip encoder stay in fp32: they make
decisions (codes) from small differences, and are a few per cent of the work.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, cast

import torch
from torch import nn

from reference_models import lora as low_rank
from reference_models.acoustic import S2A
from reference_models.codecs.acoustic import AcousticDecoder, AcousticEncoder
from reference_models.codecs.semantic import SemanticCodec
from reference_models.codecs.weight_norm import fold_weight_norm
from reference_models.config import Attention, FeaturesConfig, S2AConfig, Stage1Config, VisualConfig
from reference_models.errors import CheckpointError, MetisError
from reference_models.features import SemanticFeatures, unused_key
from reference_models.hub import find, folder_of
from reference_models.lips.visual import VisualEncoder
from reference_models.lips.weights import encoder_weights, read_visual_config
from reference_models.loading import Tensors, check, load_into, load_tensors, unfilled
from reference_models.random_weights import RandomWeights
from reference_models.registry import FILES
from reference_models.sizes import Size, config_beside, with_attention
from reference_models.stage1 import Stage1
from reference_models.text.mandarin_resources import SOURCES
from reference_models.variants import Stage1Files, variant_files

M = TypeVar("M", bound=nn.Module)
Device: TypeAlias = torch.device | str


class Source(Protocol):
    """Where modules come from: in eval mode, on their device."""

    def stage1(self, variant: str | Stage1Files) -> Stage1:
        """One of VARIANTS, or files of the user's."""

    def s2a_first(self) -> S2A:
        """S2A for codebook 0."""

    def s2a_full(self) -> S2A:
        """S2A for the other codebooks."""

    def semantic_codec(self) -> SemanticCodec:
        """Weight norm folded: for inference."""

    def acoustic_encoder(self) -> AcousticEncoder:
        """Weight norm folded: for inference."""

    def acoustic_decoder(self) -> AcousticDecoder:
        """Weight norm folded: for inference."""

    def features(self) -> SemanticFeatures:
        """w2v-BERT up to the layer that is read, with its statistics."""

    def visual(self) -> VisualEncoder:
        """The lip encoder."""

    def mandarin(self) -> Path | None:
        """The folder with the release's Chinese lexicon and polyphone model, if it is here."""


def open_source(
    where: str | Path | None,
    *,
    dtype: torch.dtype = torch.float32,
    device: Device = "cpu",
    attention: Attention = "sdpa",
    seed: int = 0,
) -> Source:
    """`mini`, `random-tiny`, `random-full`, or the folder of the checkpoints (None: the Hugging Face cache alone).

    Fails with `MetisError` (no such device here) or `CheckpointError` (no such folder).
    """
    check_device(device)
    if where in ("random-tiny", "random-full"):
        size: Size = "tiny" if where == "random-tiny" else "full"
        return RandomWeights(size, seed, dtype=dtype, device=device, attention=attention)
    folder = folder_of(where)
    if folder is not None and not folder.is_dir():
        raise CheckpointError(
            f"{folder} is not a folder", fix="give the folder of the checkpoints, mini, random-tiny or random-full"
        )
    return Checkpoints(folder, dtype=dtype, device=device, attention=attention)


def check_device(device: Device) -> None:
    """Before gigabytes are read for it."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise MetisError(f"no device '{device}' on this machine ({reason})", fix="device='cpu'") from error


class Checkpoints:
    """Modules from files on this machine (`hub.find`), loaded strictly; another size: see `sizes`."""

    def __init__(
        self,
        folder: Path | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        device: Device = "cpu",
        attention: Attention = "sdpa",
    ) -> None:
        self.folder, self.dtype, self.device, self.attention = folder, dtype, device, attention

    def stage1(self, variant: str | Stage1Files) -> Stage1:
        """One of VARIANTS, or files of the user's."""
        files = variant_files(variant)
        path = self._path(files.checkpoint)
        adapter = None if files.adapter is None else self._path(files.adapter)
        config = config_beside(path, files.config)
        config = config if adapter is None else config_beside(adapter, config)
        return load_stage1(
            with_attention(config, self.attention),
            path,
            adapter,
            None if files.lora is None else self._path(files.lora),
            rank=files.rank,
            alpha=files.alpha,
            dtype=self.dtype,
            device=self.device,
        )

    def s2a_first(self) -> S2A:
        """S2A for codebook 0."""
        return self._s2a("maskgct_s2a_model_1layer")

    def s2a_full(self) -> S2A:
        """S2A for the other codebooks."""
        return self._s2a("maskgct_s2a_model_full")

    def semantic_codec(self) -> SemanticCodec:
        """Weight norm folded: for inference."""
        return self._codec("semantic_codec", SemanticCodec)

    def acoustic_encoder(self) -> AcousticEncoder:
        """Weight norm folded: for inference."""
        return self._codec("acoustic_codec_encoder", AcousticEncoder)

    def acoustic_decoder(self) -> AcousticDecoder:
        """Weight norm folded: for inference."""
        return self._codec("acoustic_codec_decoder", AcousticDecoder)

    def features(self) -> SemanticFeatures:
        """w2v-BERT up to the layer that is read, with its statistics."""
        path, statistics_path = self._path("w2v_bert_2.0"), self._path("wav2vec2bert_stats")
        config = config_beside(path, cast(FeaturesConfig, FILES["w2v_bert_2.0"].config))
        with unfilled():
            model = SemanticFeatures(config)
        tensors = load_tensors(
            path, dtype=torch.float32, device=self.device, skip=lambda name: unused_key(name, config)
        )
        load_into(model.model, tensors, path)
        statistics = load_tensors(statistics_path, dtype=torch.float32, device=self.device)
        check(statistics, {"mean": model.mean, "var": model.var}, statistics_path)
        model.load_state_dict(statistics, strict=False, assign=True)
        return model.eval()

    def visual(self) -> VisualEncoder:
        """The lip encoder, of the sizes that `vis_model.json` beside it says, else the official ones."""
        path = self._path("vis_model")
        described = path.with_suffix(".json")
        official = cast(VisualConfig, FILES["vis_model"].config)
        config = read_visual_config(described) if described.is_file() else official
        with unfilled():
            model = VisualEncoder(config_beside(path, config))
        load_into(model, encoder_weights(load_tensors(path, dtype=torch.float32, device=self.device)), path)
        return model.eval()

    def mandarin(self) -> Path | None:
        """`<folder>/models/tts/maskgct/g2p/sources`, as in the Amphion repository."""
        sources = None if self.folder is None else self.folder / SOURCES
        return sources if sources is not None and sources.is_dir() else None

    def _path(self, file: str | Path) -> Path:
        return find(file, self.folder) if isinstance(file, str) else file

    def _s2a(self, name: str) -> S2A:
        path = self._path(name)
        config = with_attention(config_beside(path, cast(S2AConfig, FILES[name].config)), self.attention)
        return load(S2A, config, path, self.dtype, self.device)

    def _codec(self, name: str, build: Callable[[Any], M]) -> M:
        path = self._path(name)
        model = load(build, config_beside(path, FILES[name].config), path, torch.float32, self.device)
        fold_weight_norm(model)
        return model


def load(build: Callable[[Any], M], config: Any, path: Path, dtype: torch.dtype, device: Device) -> M:
    """`build(config)` with exactly the weights of one file, in eval mode; needs the memory of the weights once."""
    with unfilled():
        model = build(config)
    load_into(model, load_tensors(path, dtype=dtype, device=device), path)
    return model.eval()


def load_stage1(
    config: Stage1Config,
    checkpoint: Path,
    adapter: Path | None = None,
    lora: Path | None = None,
    *,
    rank: int | None = None,
    alpha: float | None = None,
    dtype: torch.dtype = torch.float32,
    device: Device = "cpu",
) -> Stage1:
    """Stage 1 from a full checkpoint, or from the base, what fine-tuning added, and a LoRA, merged in that order.

    A LoRA is merged in fp32 and rounded to `dtype` afterwards. The state dict of peft's whole wrapper may be given as
    `checkpoint`, alone. Errors: CheckpointError naming the file that does not fit
    """
    with unfilled():
        model = Stage1(config)
    precision = dtype if lora is None else torch.float32
    tensors = load_tensors(checkpoint, dtype=precision, device=device)
    matrices: Tensors | None = None
    if low_rank.is_wrapped(tensors):
        if adapter is not None or lora is not None:
            raise CheckpointError(f"{checkpoint} holds its LoRA already", fix="give it alone, or the base instead")
        tensors, matrices = low_rank.unwrap(load_tensors(checkpoint, dtype=torch.float32, device=device))
    if adapter is not None:
        tensors |= _added(model, tensors, checkpoint, load_tensors(adapter, dtype=precision, device=device), adapter)
    load_into(model, tensors, checkpoint)
    tensors.clear()  # or the fp32 weights would outlive their rounding to `dtype`
    if lora is not None:
        matrices = load_tensors(lora, dtype=torch.float32, device=device)
    if matrices is not None:
        low_rank.merge(model, matrices, lora or checkpoint, rank=rank, alpha=alpha)
    return model.to(dtype).eval()


def _added(model: Stage1, base: Tensors, checkpoint: Path, adapter: Tensors, where: Path) -> Tensors:
    """What fine-tuning added, under stage 1's names; base and adapter are checked each on its own."""
    own = model.state_dict()
    added = {name: tensor for name, tensor in own.items() if name.startswith(low_rank.ADDED)}
    check(base, {name: tensor for name, tensor in own.items() if name not in added}, checkpoint)
    check(adapter, {low_rank.PREFIX + name: tensor for name, tensor in added.items()}, where)
    return {name.removeprefix(low_rank.PREFIX): tensor for name, tensor in adapter.items()}
