"""Beilong-Tang/TSELM@1aaa7fba: config/tselm_l.yaml, used as inference.py uses it (which runs on CUDA alone)."""

import os
import shutil
import tarfile

import torch
import torchaudio
from hyperpyyaml import load_hyperpyyaml

RATE = 16000


def load(ctx):
    return Extractor(ctx)


def unpack(archive, folder):
    """Files by their names alone: nothing can leave the folder. (`._*`: what macOS puts beside them.)"""
    os.makedirs(folder, exist_ok=True)
    with tarfile.open(archive) as tar:
        for member in tar:
            name = os.path.basename(member.name)
            if member.isfile() and not name.startswith("._"):
                with open(os.path.join(folder, name), "wb") as file:
                    shutil.copyfileobj(tar.extractfile(member), file)
    return folder


class Extractor:
    def __init__(self, ctx):
        self.device = ctx.device
        folders = {
            "wavlm_path": ctx.weights["wavlm"],
            "kmeans_path": unpack(ctx.weights["kmeans"], os.path.join(ctx.work, "kmeans")),
            "hifi_gan_path": unpack(ctx.weights["hifigan"], os.path.join(ctx.work, "hifigan")),
        }
        with open(os.path.join(ctx.repo, "config", "tselm_l.yaml")) as file:
            self.model = load_hyperpyyaml(file, overrides=folders)["model"]
        state = torch.load(ctx.weights["model"], map_location="cpu")
        self.model.load_state_dict(state["model_state_dict"], strict=False)  # what it lacks is frozen, and loaded above
        self.model.to(ctx.device)
        if not ctx.options["dropout"]:
            self.model.eval()

    def read(self, path):
        samples, rate = torchaudio.load(path)  # (1, T)
        return torchaudio.functional.resample(samples, rate, RATE).to(self.device)

    def run(self, item):
        with torch.no_grad():
            speech, _ = self.model.inference(self.read(item["source"]), self.read(item["prompt"]))
        return speech, RATE
