"""Seeded random weights, tiny or full-size: for tests, benchmarks, and trying things out without the checkpoints."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from reference_models.acoustic import S2A
from reference_models.codecs.acoustic import AcousticDecoder, AcousticEncoder
from reference_models.codecs.semantic import SemanticCodec
from reference_models.codecs.weight_norm import fold_weight_norm
from reference_models.config import Attention
from reference_models.features import SemanticFeatures
from reference_models.hub import place
from reference_models.lips.visual import VisualEncoder
from reference_models.loading import PICKLED
from reference_models.lora import save
from reference_models.registry import FILES, CheckpointFile, state
from reference_models.sizes import Size, sized, with_attention, write_config
from reference_models.stage1 import Stage1
from reference_models.variants import Stage1Files, variant_files

M = TypeVar("M", bound=nn.Module)


class RandomWeights:
    """A `checkpoints.Source` of random modules. What a module holds depends on seed, size and module only.

    Initial weights would make models that hardly look at what they are given (all logits near 0, gates shut). These are
    scaled so that signals pass: every token depends on everything that goes in.
    """

    def __init__(
        self,
        size: Size,
        seed: int = 0,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        attention: Attention = "sdpa",
    ) -> None:
        self.size, self.seed, self.dtype, self.device, self.attention = size, seed, dtype, device, attention

    def stage1(self, variant: str | Stage1Files) -> Stage1:
        """A stage 1 that takes what the variant takes."""
        config = with_attention(sized(variant_files(variant).config, self.size), self.attention)
        return self._random(f"stage1 {config.adapter} {config.phones}", lambda: Stage1(config), self.dtype)

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
        """w2v-BERT up to the layer that is read; statistics 0 and 1."""
        return self._of_file("w2v_bert_2.0", SemanticFeatures)

    def visual(self) -> VisualEncoder:
        """The lip encoder."""
        return self._of_file("vis_model", VisualEncoder)

    def mandarin(self) -> None:
        """No resources: the fallback."""
        return

    def _s2a(self, name: str) -> S2A:
        return self._of_file(name, lambda config: S2A(with_attention(config, self.attention)), self.dtype)

    def _codec(self, name: str, build: Callable[[Any], M]) -> M:
        model = self._of_file(name, build)
        fold_weight_norm(model)
        return model

    def _of_file(self, name: str, build: Callable[[Any], M], dtype: torch.dtype = torch.float32) -> M:
        config = sized(FILES[name].config, self.size)
        return self._random(name, lambda: build(config), dtype)

    def _random(self, name: str, build: Callable[[], M], dtype: torch.dtype) -> M:
        with _seeded(self.seed, name):
            model = build()
            _enliven(model.state_dict())
        return model.to(self.device, dtype).eval()


def write_random(
    folder: Path,
    size: Size,
    *,
    names: Iterable[str] = tuple(FILES),
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> list[Path]:
    """Write random weights under official file names: a folder that `Checkpoints` opens. Returns the files.

    names: of `registry.FILES`. All of them at full size are 28 GB in fp32, half in float16 or bfloat16 (statistics and
    integers apart). Tiny files get their `*.config.json`.
    """
    return [_write(folder, FILES[name], size, seed, dtype) for name in names]


def _write(folder: Path, file: CheckpointFile, size: Size, seed: int, dtype: torch.dtype) -> Path:
    path = place(file, folder)
    config = sized(file.config, size)
    with _seeded(seed, file.name):
        tensors = state(file, config)
        if file.kind != "statistics":
            _enliven(tensors)
            tensors = {k: t.detach().to(dtype) if t.is_floating_point() else t for k, t in tensors.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in PICKLED:
        torch.save(tensors, path)
    else:
        save(tensors, path)
    if file.kind != "lora":
        write_config(path, config, file.config)
    return path


@contextmanager
def _seeded(seed: int, name: str) -> Iterator[None]:
    """Draws on the CPU that depend on seed and name only, and leave torch's generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(f"{seed} {name}".encode()))
        yield


@torch.no_grad()
def _enliven(tensors: Mapping[str, Tensor]) -> None:
    """Scale matrices, in place, to outputs about as large as inputs; draw those that start at zero; open gates."""
    for name, tensor in tensors.items():
        if name.endswith("gate_scale"):
            tensor.fill_(1.0)
        elif tensor.ndim > 1 and len(tensor) > 1 and tensor[0].numel() > 1:
            want, squares = tensor[0].numel() ** -0.5, float(torch.linalg.vector_norm(tensor)) ** 2
            if squares > 0:
                tensor.mul_(want / (squares / tensor.numel()) ** 0.5)
            else:
                tensor.normal_(0, want)
