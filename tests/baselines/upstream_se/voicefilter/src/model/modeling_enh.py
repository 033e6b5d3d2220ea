import numpy as np
import torch
from record import record


class VoiceFilter:
    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        record("from_pretrained", path=pretrained_model_name_or_path, args=model_args, kwargs=kwargs)
        return cls()

    def to(self, device):
        self.device = device
        return self

    def xvector_model(self, waveforms):
        """(batch, 1, samples) -> (batch, 512)."""
        assert waveforms.device == self.device and not torch.grad
        record("xvector_model", shape=waveforms.shape, tail=float(abs(waveforms.array[-1, 0, -1])))
        return torch.Tensor(np.zeros((waveforms.shape[0], 512), np.float32), waveforms.device)

    def do_enh(self, speech, speaker_embedding):
        """(samples,), (512,) -> (samples,)."""
        assert speech.device == speaker_embedding.device == self.device and not torch.grad
        record("do_enh", speech=speech.shape, speaker=speaker_embedding.shape, peak=float(abs(speech.array).max()))
        return torch.Tensor(speech.array * np.float32(0.25), speech.device)
