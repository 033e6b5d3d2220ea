"""What HierSpeech++ takes of transformers."""

from fake_tools import record


class Wav2Vec2ForPreTraining:
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str) -> None:
        record("mms", place=pretrained_model_name_or_path)
