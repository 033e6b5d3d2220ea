import os
from pathlib import Path

import torch
from record import record


class DF:
    def sr(self):
        return 48000


def init_df(
    model_base_dir=None,
    post_filter=False,
    log_level="INFO",
    log_file="enhance.log",
    config_allow_defaults=True,
    epoch="best",
    default_model="DeepFilterNet3",
    mask_only=False,
):
    """(network, state, suffix) in the release."""
    device = os.environ.get("DEVICE", "")
    record(
        "init_df",
        files=sorted(path.name for path in Path(model_base_dir).iterdir()),
        post_filter=post_filter,
        log_file=log_file,
        device=device,
    )
    return "network", DF(), "DeepFilterNet3"


def enhance(model, df_state, audio, pad=True, atten_lim_db=None):
    """(1, T) -> the same if `pad`."""
    assert model == "network" and isinstance(df_state, DF)
    record("enhance", shape=audio.shape, pad=pad, atten_lim_db=atten_lim_db)
    return torch.Tensor(audio.array * 0.5)
