"""torchaudio.functional.resample, signature of 2.3.1; to a divisor of the rate alone."""

import torch


def resample(
    waveform,
    orig_freq,
    new_freq,
    lowpass_filter_width=6,
    rolloff=0.99,
    resampling_method="sinc_interp_hann",
    beta=None,
):
    assert orig_freq % new_freq == 0
    return torch.Tensor(waveform.array[:, :: orig_freq // new_freq], waveform.device)
