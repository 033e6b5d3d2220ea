"""The speaker similarity of zero-shot TTS papers (SIM-o): WavLM-large, fine-tuned with an ECAPA-TDNN on VoxCeleb.

As seed-tts-eval scores it: the whole clip, mono, windowed sinc resampling to 16 kHz, one clip at a time, float32.
Differences: a stereo clip is averaged (seed-tts-eval takes sample 0 of each channel for one clip of a pair and the
first channel for the other); every key of the checkpoint is accounted for (the official code loads with
strict=False); on a GPU, convolutions are not rounded to TF32.
Source: BytedanceSpeech/seed-tts-eval thirdparty/UniSpeech/downstreams/speaker_verification/verification.py.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from metis_bench.audio import AUDIO_VERSION, Audio
from metis_bench.hashing import JSON
from metis_bench.metrics.base import Clip
from metis_bench.metrics.device import device, full_precision
from metis_bench.metrics.sinc import SINC_VERSION, resample_sinc
from metis_bench.metrics.speakers.base import MIN_SECONDS, SpeakerEncoder, as_feature, encoders, require_long, rms_of
from metis_bench.metrics.weights import Weights, content
from metis_bench.systems.told import told

if TYPE_CHECKING:
    from metis_bench.metrics.speakers._ecapa import SpeakerSizes

RATE = 16_000  # Hz

WEIGHTS = Weights(
    name="wavlm_large_finetune.pth",
    licence="microsoft/UniSpeech: CC BY-SA 3.0 for the repository, nothing said of this file",
    gigabytes=1.3,
    get="download it from https://drive.google.com/file/d/1-aE1NfzpRCLxA4GUxX9ITI3F9LlbtEGP"
    " (a copy: speaker_similarity/wavlm_large_finetune.pth of the Hugging Face repository k2-fsa/TTS_eval_models)",
)
UNUSED = frozenset({"loss_calculator.projection.weight", "feature_extract.model.mask_emb"})  # of training alone


@encoders.register("wavlm_large_finetune")
class WavLMLarge(SpeakerEncoder):
    """256-dimensional; cosines of unrelated voices are around 0, of one voice around 0.7."""

    name = "wavlm_large_finetune"
    network = True
    weights = (WEIGHTS,)
    sizes: ClassVar[SpeakerSizes | None] = None  # None: the published ones

    def signature(self) -> Mapping[str, JSON]:
        """Weights, rate and resampling."""
        return {
            "name": self.name,
            "version": "1",
            "weights_sha256": content(WEIGHTS.require(self.name))[WEIGHTS.name],
            "rate": RATE,
            "resampling": SINC_VERSION,
            "min_seconds": MIN_SECONDS,
            "audio": AUDIO_VERSION,
        }

    def extract(self, clip: Clip) -> JSON:
        """256 floats, of no particular norm. Raises Undefined for silence or less than 0.25 s, AudioError."""
        import torch

        given = clip.audio()
        audio = Audio(resample_sinc(given.samples, given.rate, RATE), RATE)
        require_long(audio, MIN_SECONDS)
        rms_of(audio.samples)
        model = _model(WEIGHTS.require(self.name), self.sizes)
        wave = torch.from_numpy(audio.samples)[None].to(model.feature_weight.device)
        with full_precision():
            return as_feature(model(wave)[0].cpu().numpy())


@functools.lru_cache(maxsize=1)
def _model(path: Path, sizes: SpeakerSizes | None) -> Any:
    """The network with the weights of `path`, each of them used or known to be unused, on a GPU if there is one.

    Raises SuiteError naming missing, unexpected and misshapen keys, or what else is wrong with the file.
    """
    import torch

    from metis_bench.metrics.speakers._ecapa import SpeakerModel, SpeakerSizes
    from reference_models.loading import load_into, load_tensors, unfilled

    with unfilled():
        model = SpeakerModel(sizes or SpeakerSizes())
    with told():
        load_into(model, load_tensors(path, dtype=torch.float32, skip=UNUSED.__contains__, entry="model"), path)
    return model.eval().requires_grad_(False).to(device())
