"""The sizes of every model, as dataclasses. Defaults are those of the official release (`metis/config/*.json`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Task: TypeAlias = Literal["tts", "vc", "tse", "se", "l2s"]
Adapter: TypeAlias = Literal["none", "gated", "plain"]
Attention: TypeAlias = Literal["sdpa", "eager"]

SEMANTIC_RATE = 50  # semantic and acoustic tokens a second
FEATURE_SAMPLE_RATE = 16_000  # Hz, what w2v-BERT hears
SAMPLE_RATE = 24_000  # Hz, what the acoustic codec reads and writes
ON_CPU, ON_GPU = 8, 32  # jobs of a batch at most, where nobody says: more are hardly faster


@dataclass(frozen=True)
class TransformerConfig:
    """The bidirectional Llama that every masked model is built on (`maskgct/llama_nar.py`)."""

    hidden_size: int = 1024
    num_layers: int = 16
    num_heads: int = 16
    mlp_ratio: int = 4
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    attention: Attention = "sdpa"

    def __post_init__(self) -> None:
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(f"hidden_size {self.hidden_size} is not an even multiple of num_heads {self.num_heads}")

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.hidden_size // self.num_heads


@dataclass(frozen=True)
class Stage1Config:
    """Semantic tokens from phones and/or frame-level conditions (`metis/metis_model.py`).

    adapter:        how frame conditions of `condition_dim` enter: not at all, zero-gated, or a plain MLP (lips)
    phones:         phones may be prepended
    prompt_dropout: share of training batches without a prompt (`cfg_scale` of the release)
    """

    transformer: TransformerConfig = field(default_factory=lambda: TransformerConfig(hidden_size=1536))
    codebook_size: int = 8192
    adapter: Adapter = "none"
    condition_dim: int = 1024
    phones: bool = False
    phone_vocab: int = 1024  # rows of the table; 363 ids are used, the last row is padding
    prompt_dropout: float = 0.15


@dataclass(frozen=True)
class S2AConfig:
    """Acoustic from semantic tokens (`maskgct/maskgct_s2a.py`). first_layer: codebook 0 is trained as well."""

    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    num_quantizers: int = 12
    codebook_size: int = 1024
    semantic_size: int = 8192
    first_layer: bool = False
    prompt_dropout: float = 0.15


@dataclass(frozen=True)
class BackboneConfig:
    """A ConvNeXt stack (`codec/kmeans/vocos.py`)."""

    dim: int
    inner_dim: int
    num_layers: int


@dataclass(frozen=True)
class SemanticCodecConfig:
    """RepCodec: w2v-BERT features to one codebook (`codec/kmeans/repcodec_model.py`)."""

    feature_dim: int = 1024
    codebook_size: int = 8192
    codebook_dim: int = 8
    backbone: BackboneConfig = BackboneConfig(384, 2048, 12)


@dataclass(frozen=True)
class AcousticCodecConfig:
    """24 kHz waveforms to 12 codebooks and back (`codec/amphion_codec/codec.py`)."""

    channels: int = 96
    strides: tuple[int, ...] = (3, 4, 5, 8)
    latent_dim: int = 256
    num_quantizers: int = 12
    codebook_size: int = 1024
    codebook_dim: int = 8
    backbone: BackboneConfig = BackboneConfig(512, 4096, 30)
    n_fft: int = 1920

    @property
    def hop(self) -> int:
        """Samples of one frame."""
        hop = 1
        for stride in self.strides:
            hop *= stride
        return hop


@dataclass(frozen=True)
class FeaturesConfig:
    """w2v-BERT 2.0, of which Metis reads the output of `layer` (17 of 24); sizes as in transformers."""

    hidden_size: int = 1024
    num_layers: int = 24
    layer: int = 17
    num_heads: int = 16
    inner_dim: int = 4096
    mel_bins: int = 80
    left_context: int = 64
    right_context: int = 8
    conv_kernel: int = 31
    padding_value: float = 1.0


@dataclass(frozen=True)
class VisualConfig:
    """The visual front end and conformer of Auto-AVSR (`mpc001/auto_avsr`). widths: of ResNet-18's four stages."""

    dim: int = 768
    num_heads: int = 12
    inner_dim: int = 3072
    num_layers: int = 12
    conv_kernel: int = 31
    widths: tuple[int, ...] = (64, 128, 256, 512)

    def __post_init__(self) -> None:
        if len(self.widths) != 4:
            raise ValueError(f"widths {self.widths} must be four: ResNet-18 has four stages")
