"""The little of torch that adapters touch. Tensors keep their device, and refuse what real ones refuse."""

import json
from pathlib import Path

import numpy as np
from record import record

grad = True


class no_grad:  # noqa: N801  (torch's name)
    def __enter__(self):
        global grad
        self.before, grad = grad, False

    def __exit__(self, *_):
        global grad
        grad = self.before


class Tensor:
    def __init__(self, array, device="cpu"):
        self.array, self.device = array, device

    @property
    def shape(self):
        return self.array.shape

    def to(self, device):
        return Tensor(self.array, device)

    def cpu(self):
        return self.to("cpu")

    def is_floating_point(self):
        return True

    def detach(self):
        return self

    def float(self):
        return Tensor(self.array.astype(np.float32), self.device)

    def mean(self, dim):
        return Tensor(self.array.mean(axis=dim), self.device)

    def numpy(self):
        if self.device != "cpu":
            raise TypeError("can't convert a CUDA tensor to numpy")
        return self.array


class cuda:  # noqa: N801  (torch's name)
    @staticmethod
    def is_available():
        return False  # for the worker's look at its memory

    @staticmethod
    def set_device(device):
        record("set_device", device=device)


def manual_seed(seed):
    record("manual_seed", seed=seed)


def from_numpy(array):
    if array.dtype != np.float32:
        raise TypeError(f"expected float32, got {array.dtype}")  # a network of float32 would refuse it later
    return Tensor(array)


def load(f, map_location=None, pickle_module=None, *, weights_only=None, mmap=None):
    record("torch.load", map_location=map_location)
    return json.loads(Path(f).read_text(encoding="utf-8"))
