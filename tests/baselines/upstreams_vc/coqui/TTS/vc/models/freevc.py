"""idiap/coqui-ai-TTS@7cde79ec: the names of TTS/vc/models/freevc.py that decide where weights come from."""

from __future__ import annotations

import os

from fake_tools import record


class SpeakerEncoderEx:
    def __init__(self, weights_fpath: str) -> None:
        record("speaker_encoder", file=weights_fpath)


def make() -> None:
    SpeakerEncoderEx("https://github.com/coqui-ai/TTS/releases/download/v0.13.0_models/speaker_encoder.pt")
    record("wavlm", home=os.environ["TTS_HOME"])
