"""Whisper through transformers as SeedTTS-eval runs it: greedy, fp32, the language told, of long clips the first 30 s.

Source: BytedanceSpeech/seed-tts-eval@752f429 run_wer.py:85-96. Rows are padded to 30 s whatever stands beside them, so
batches hear what single clips hear, up to the rounding of sums.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from metis_bench.audio import Audio
from metis_bench.errors import ItemError
from metis_bench.hashing import JSON
from metis_bench.metrics.asr.base import Recogniser, recognisers
from metis_bench.metrics.base import Clip
from metis_bench.metrics.device import full_precision
from metis_bench.metrics.pretrained import open_pretrained, open_processor
from metis_bench.metrics.weights import Weights, content

RATE = 16_000  # Hz
WINDOW_S = 30.0
SIZES = {  # GB
    "tiny": 0.15, "base": 0.29, "small": 0.97, "medium": 3.1, "large-v2": 6.2, "large-v3": 3.1, "large-v3-turbo": 1.6,
}  # fmt: skip
USUAL = "large-v3"
LANGUAGES = (  # transformers: models/whisper/tokenization_whisper.py
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml "
    "cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am "
    "yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
)
FILES = (
    "config.json",
    "generation_config.json",
    "preprocessor_config.json",
    "tokenizer.json|vocab.json",
    "tokenizer.json|merges.txt",
    "model.safetensors|model.safetensors.index.json|pytorch_model.bin",
)


def fft_resampled(audio: Audio, rate: int) -> NDArray[np.float64]:
    """(T,) at another rate by scipy's FFT, as run_wer.py:90 does it."""
    from scipy.signal import resample

    samples = audio.samples.astype(np.float64)
    length = int(len(samples) * rate / audio.rate)
    if audio.rate == rate or not length:
        return samples[:length]
    return cast("NDArray[np.float64]", resample(samples, length))


@functools.lru_cache(maxsize=1)
def _loaded(place: str) -> tuple[Any, Any]:
    """Processor and model."""
    from transformers import WhisperForConditionalGeneration, WhisperProcessor

    processor = open_processor(WhisperProcessor, Path(place))
    return processor, open_pretrained(WhisperForConditionalGeneration, Path(place))


class Whisper(Recogniser):
    """One size of it; the language is that of the corpus."""

    languages = frozenset(LANGUAGES.split())
    extra = ""
    network = True
    batch = 8

    def signature(self) -> Mapping[str, JSON]:
        """Content of all files, version of transformers, and the decoding."""
        return {
            "name": self.name,
            "version": "1",
            "files": content(self.located(), FILES),
            "transformers": metadata.version("transformers"),
            "decoding": {"beams": 1, "language": self.language, "task": "transcribe", "dtype": "float32"},
            "heard": f"first {WINDOW_S:g} s",
            "resample": "scipy.signal.resample",
        }

    def extract(self, clip: Clip) -> JSON:
        """As `extract_all`. Raises ItemError."""
        (found,) = self.extract_all([clip])
        if isinstance(found, ItemError):
            raise found
        return found

    def extract_all(self, clips: Sequence[Clip]) -> list[JSON | ItemError]:
        """{"text": transcript}, and {"unheard_s": seconds after the first 30} of a longer clip.

        Nothing at all is an empty transcript: of silence Whisper would make up a sentence ("Thank you.").
        """
        out: list[JSON | ItemError] = [{"text": ""}] * len(clips)
        heard: dict[int, NDArray[np.float64]] = {}
        for i, clip in enumerate(clips):
            try:
                samples = fft_resampled(clip.audio(), RATE)
            except ItemError as error:
                out[i] = error
                continue
            if np.any(samples):
                heard[i] = samples
        for i, text in zip(heard, self._transcribe(list(heard.values())), strict=True):
            beyond = len(heard[i]) / RATE - WINDOW_S
            out[i] = {"text": text, **({"unheard_s": round(beyond, 3)} if beyond > 0 else {})}
        return out

    def _transcribe(self, rows: Sequence[NDArray[np.float64]]) -> list[str]:
        if not rows:
            return []
        processor, model = _loaded(str(self.located()))
        features = processor(list(rows), sampling_rate=RATE, return_tensors="pt").input_features  # (B, M, 3000)
        with full_precision():
            ids = model.generate(features.to(model.device), language=self.language, task="transcribe", num_beams=1)
        return cast("list[str]", processor.batch_decode(ids, skip_special_tokens=True))


for _size, _gigabytes in SIZES.items():
    _name, _repo = f"whisper-{_size}", f"openai/whisper-{_size}"
    _weights = Weights(
        _name, "MIT" if _size.endswith("turbo") else "Apache-2.0", _gigabytes, FILES, _repo, usual=_size == USUAL
    )
    _made = type(f"Whisper_{_size}", (Whisper,), {"name": _name, "weights": (_weights,), "__module__": __name__})
    recognisers.register(_name)(cast("type[Recogniser]", _made))
