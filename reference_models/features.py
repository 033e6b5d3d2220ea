"""Semantic features: layer 17 of w2v-BERT 2.0, normalised (`Amphion:models/tts/metis/audio_tokenizer.py`).

The layers behind the one that is read are never built: 30 % of the weights and of the time.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_models.config import FEATURE_SAMPLE_RATE, FeaturesConfig
from reference_models.conformer import Conformer
from reference_models.errors import InputError

WINDOW, HOP = 400, 160  # samples of one filter bank frame (25 ms) and from one to the next (10 ms)
STACK = 2  # filter bank frames in one feature frame
FFT, PREEMPHASIS, MEL_FLOOR = 512, 0.97, 1.192092955078125e-07
POVEY, LOWEST_HZ = 0.85, 20.0  # the window is Hann's to this power
CHUNK = 128  # filter bank frames computed at a time
MIN_SAMPLES = WINDOW + HOP  # the extractor divides by the variance over frames, so it needs two


def frames(samples: int) -> int:
    """Feature frames (50 a second) of so many samples at 16 kHz; an odd filter bank frame at the end counts as one.

    0 below `MIN_SAMPLES`, where no features exist.
    """
    if samples < MIN_SAMPLES:
        return 0
    filter_banks = (samples - WINDOW) // HOP + 1
    return -(-filter_banks // STACK)


def unused_key(name: str, cfg: FeaturesConfig | None = None) -> bool:
    """Whether a tensor of the official w2v-BERT file belongs to a layer that is not built here.

    These are exactly `encoder.layers.N.*` with cfg.layer <= N < cfg.num_layers (17 to 23).
    """
    cfg = cfg or FeaturesConfig()
    layer = re.match(r"encoder\.layers\.(\d+)\.", name)
    return layer is not None and cfg.layer <= int(layer[1]) < cfg.num_layers


def mel_filters(bins: int) -> NDArray[np.float64]:
    """(257, bins): Kaldi's triangles on its mel scale, from 20 Hz to half the rate."""

    def mel(hertz: Any) -> NDArray[np.float64]:
        return np.asarray(1127.0 * np.log(1.0 + hertz / 700.0))

    edges = np.linspace(mel(LOWEST_HZ), mel(FEATURE_SAMPLE_RATE / 2), bins + 2)
    places = mel(FEATURE_SAMPLE_RATE / FFT * np.arange(FFT // 2 + 1))[:, None]  # (257, 1)
    widths = np.diff(edges)
    rising, falling = (places - edges[:-2]) / widths[:-1], (edges[2:] - places) / widths[1:]
    return np.maximum(0.0, np.minimum(rising, falling))


class FeatureExtractor:
    """Waveform to normalised log-mel filter banks, two frames stacked: transformers' SeamlessM4TFeatureExtractor.

    The same numbers by the same steps, on many frames at once (there, a loop over frames takes three times as long),
    and without the second that importing it takes.
    """

    def __init__(self, cfg: FeaturesConfig) -> None:
        self._window = np.hanning(WINDOW) ** POVEY  # (400,)
        self._mel_filters = mel_filters(cfg.mel_bins)  # (257, M)
        self._padding_value = cfg.padding_value

    def __call__(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """Waveform (S,) at 16 kHz, full scale 1, to filter banks (1, T, 160) and mask (1, T), on the CPU.

        Of an odd number of filter bank frames the last is stacked with padding and masked, but it stays a frame.

        Errors: InputError below `MIN_SAMPLES` (where the extractor returns NaN or fails) and for samples not finite
        """
        if wav.ndim != 1:
            raise ValueError(f"a waveform is (samples,), not {tuple(wav.shape)}")
        if wav.shape[0] < MIN_SAMPLES:
            raise InputError(
                f"the audio has {wav.shape[0]} samples at 16 kHz; features need at least {MIN_SAMPLES} (35 ms)",
                fix="give a longer recording",
            )
        if not bool(torch.isfinite(wav).all()):
            raise InputError("the audio holds samples that are not finite numbers", fix="repair or leave out the file")
        log_mels = self._log_mels(wav.float().cpu().numpy())  # (F, M)
        log_mels = (log_mels - log_mels.mean(0)) / np.sqrt(log_mels.var(0, ddof=1) + 1e-7)
        rest = -len(log_mels) % STACK
        padded = np.pad(log_mels, ((0, rest), (0, 0)), constant_values=self._padding_value)
        mask = torch.ones(1, len(padded) // STACK, dtype=torch.int32)
        mask[0, len(log_mels) // STACK :] = 0
        return torch.from_numpy(padded.reshape(1, len(padded) // STACK, -1)), mask

    def _log_mels(self, wav: NDArray[np.float32]) -> NDArray[np.float32]:
        """(S,) to (F, M), each column contiguous: the order in which transformers sums over frames."""
        samples = (wav * np.float32(2**15)).astype(np.float64)  # Kaldi's scale of 16-bit integers
        windows = sliding_window_view(samples, WINDOW)[::HOP]  # (F, 400)
        out: NDArray[np.float32] = np.empty((self._mel_filters.shape[1], len(windows)), np.float32)
        for start in range(0, len(windows), CHUNK):  # what fits the cache
            out[:, start : start + CHUNK] = self._of_windows(windows[start : start + CHUNK]).T
        return np.asarray(out.T)

    def _of_windows(self, windows: NDArray[np.float64]) -> NDArray[np.float64]:
        """(F, 400) samples to (F, M): offset removed, pre-emphasis, Povey's window, power, mel filters, log."""
        from scipy.fft import rfft

        centred = windows - windows.mean(1, keepdims=True)
        buffer = np.zeros((len(windows), FFT))
        buffer[:, 0] = centred[:, 0] * (1 - PREEMPHASIS)
        buffer[:, 1:WINDOW] = centred[:, 1:] - PREEMPHASIS * centred[:, :-1]
        buffer[:, :WINDOW] *= self._window
        spectrum = rfft(buffer).astype(np.complex64)  # transformers keeps single precision here
        power = spectrum.real.astype(np.float64) ** 2 + spectrum.imag.astype(np.float64) ** 2  # (F, 257)
        return np.asarray(np.log(np.maximum(MEL_FLOOR, power @ self._mel_filters)))


class SemanticFeatures(nn.Module):
    """w2v-BERT 2.0 up to the layer that Metis reads, frozen: no dropout in any mode.

    model:     its state dict has the official names, less those of `unused_key`
    mean, var: (C,) statistics of the hidden states, shipped with the release (`wav2vec2bert_stats.pt`)
    """

    mean: Tensor
    var: Tensor

    def __init__(self, cfg: FeaturesConfig) -> None:
        super().__init__()
        self.extractor = FeatureExtractor(cfg)
        self.model = Conformer(cfg, STACK * cfg.mel_bins)
        self.register_buffer("mean", torch.zeros(cfg.hidden_size))
        self.register_buffer("var", torch.ones(cfg.hidden_size))
        self.requires_grad_(False)

    def forward(self, wav: Tensor) -> Tensor:
        """Waveform (S,) at 16 kHz, full scale 1, to features (1, T, C), T = frames(S).

        Errors: InputError when the waveform is too short or not finite
        """
        filter_banks, mask = self.extractor(wav)
        like = self.model.feature_projection.projection.weight
        return self.normalise(self.hidden(filter_banks.to(like), mask.to(like.device)))

    def hidden(self, filter_banks: Tensor, mask: Tensor) -> Tensor:
        """Filter banks (B, T, 160) and mask (B, T) to hidden states (B, T, C) after the last layer built."""
        return self.model(filter_banks, mask)  # type: ignore[no-any-return]

    def normalise(self, hidden: Tensor) -> Tensor:
        """Hidden states (B, T, C) to zero mean and unit variance per channel."""
        return (hidden - self.mean) / self.var.sqrt()
