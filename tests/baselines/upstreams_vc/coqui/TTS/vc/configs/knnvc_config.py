"""idiap/coqui-ai-TTS@7cde79ec: TTS/vc/configs/knnvc_config.py."""

import json
from pathlib import Path


class KNNVCConfig:
    def save_json(self, file_name: str) -> None:
        Path(file_name).write_text(json.dumps({"model": "knnvc"}))
