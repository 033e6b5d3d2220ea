"""idiap/coqui-ai-TTS@7cde79ec: TTS/vc/configs/openvoice_config.py."""


class _Audio:
    output_sample_rate = 0


class OpenVoiceConfig:
    def __init__(self) -> None:
        self.audio = _Audio()
