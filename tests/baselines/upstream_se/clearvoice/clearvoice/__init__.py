import types
import wave

import numpy as np
from record import record

from clearvoice.networks import SpeechModel

RATES = {"FRCRN_SE_16K": 16000, "MossFormerGAN_SE_16K": 16000, "MossFormer2_SE_48K": 48000}  # of its yaml files


class ClearVoice:
    def __init__(self, task, model_names):
        record("ClearVoice", task=task, model_names=model_names)
        self.models = []
        for name in model_names:
            args = types.SimpleNamespace(sampling_rate=RATES[name], checkpoint_dir="checkpoints/" + name)
            self.models.append(SpeechModel(args))
            self.models[-1].load_model(name)

    def __call__(self, input_path, online_write=False, output_path=None):
        """Path -> (1, T) at the model's rate."""
        record("call", input_path=input_path, online_write=online_write, output_path=output_path)
        with wave.open(input_path) as file:
            length = round(file.getnframes() / file.getframerate() * self.models[0].args.sampling_rate)
        return np.full((1, length), 0.5, np.float64)
