"""A recogniser of the mini grammar's words: phones by a small convolutional network, words by a Viterbi search.

Any word may follow any word, so what is no speech scores no better than chance. Its training shares no voice and no
sentence with the models' and with any evaluation (`hear`). Letters: T frames at 50 Hz, V phones, S states.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reference_models.codecs.backbone import ConvNeXtBackbone
from reference_models.config import BackboneConfig
from reference_models.errors import CheckpointError, MissingCheckpoint
from reference_models.features import STACK, FeatureExtractor
from reference_models.loading import load_into, load_tensors
from reference_models.mini.alignment import PAUSE, PHONES
from reference_models.sizes import MINI_FEATURES, config_path

F32 = NDArray[np.float32]
FILE = Path("recogniser") / "model.safetensors"  # within a folder of weights
NETWORK = BackboneConfig(112, 224, 5)
SHORTEST = 800  # samples: below it there is no frame that says anything
SILENT = -1e30


@dataclass(frozen=True)
class Search:
    """How words are found. words: pronunciations of each, as places in PHONES.

    prior: how much of the phones' frequencies in training is taken out; insertion: log cost of every word. Both are
    chosen on held-out speech of the recogniser's own split.
    """

    words: Mapping[str, tuple[tuple[int, ...], ...]]
    prior: float
    insertion: float


class PhoneNetwork(nn.Module):
    """Log-mel filter banks, 80 of two frames each, to phones. log_prior: (V,) of the phones in training."""

    log_prior: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.extractor = FeatureExtractor(MINI_FEATURES)
        self.backbone = ConvNeXtBackbone(STACK * MINI_FEATURES.mel_bins, NETWORK)
        self.phones = nn.Linear(NETWORK.dim, len(PHONES))
        self.register_buffer("log_prior", torch.zeros(len(PHONES)))

    def forward(self, filter_banks: Tensor) -> Tensor:
        """(B, T, M) -> (B, T, V) logits."""
        return self.phones(self.backbone(filter_banks))  # type: ignore[no-any-return]

    @torch.inference_mode()
    def posteriors(self, samples: F32) -> F32:
        """(S,) at 16 kHz -> (T, V) log probabilities."""
        banks, mask = self.extractor(torch.from_numpy(samples))
        logits = self(banks)[0, : int(mask.sum())]
        return np.asarray(logits.log_softmax(-1).numpy())


class WordLoop:
    """The states of all pronunciations side by side, one a phone, and a pause; the best way through them."""

    def __init__(self, search: Search) -> None:
        spoken = [(word, phones) for word, ways in sorted(search.words.items()) for phones in ways]
        self.words = [word for word, _ in spoken]
        sizes = np.array([len(phones) for _, phones in spoken])
        self.last = np.cumsum(sizes) - 1  # of each pronunciation
        self.first = self.last - sizes + 1
        self.phones = np.array([phone for _, phones in spoken for phone in phones])  # (S,)
        self.cost = -search.insertion

    def decode(self, scores: NDArray[np.float64]) -> list[str]:
        """(T, V) log scores of phones -> words.

        A state is stayed in, or entered from the one before; a word is entered from the end of any word or from the
        pause, and the pause from the end of any word or itself.
        """
        pause = PHONES.index(PAUSE)
        state, rest = np.full(len(self.phones), SILENT), 0.0  # rest: score of being between two words
        came = np.zeros((len(scores), len(self.phones)), bool)  # entered from the state before, not stayed in
        ended = np.zeros(len(scores), np.int64)  # the pronunciation that is best left before a frame
        held = np.ones(len(scores), bool)  # what is between words before a frame was so a frame earlier
        for t, frame in enumerate(scores):
            ends = state[self.last]
            ended[t] = int(ends.argmax())
            held[t] = rest >= ends[ended[t]]
            between = max(rest, float(ends[ended[t]]))
            before = np.concatenate(([SILENT], state[:-1]))
            before[self.first] = between + self.cost
            came[t] = before > state
            state = np.maximum(before, state) + frame[self.phones]
            rest = between + float(frame[pause])
        return self._back(state, rest, came, ended, held)

    def _back(
        self,
        state: NDArray[np.float64],
        rest: float,
        came: NDArray[np.bool_],
        ended: NDArray[np.int64],
        held: NDArray[np.bool_],
    ) -> list[str]:
        """The words along the best path, from its end."""
        starts = set(self.first.tolist())
        ends = state[self.last]
        word = int(ends.argmax())
        at = int(self.last[word]) if ends[word] > rest else -1  # -1: between words
        found = [self.words[word]] if at >= 0 else []
        for t in range(len(came) - 1, -1, -1):
            if at >= 0 and came[t, at]:
                at = -1 if at in starts else at - 1
            if at < 0 and not held[t]:  # what is between words was, a frame earlier, the end of one
                at = int(self.last[ended[t]])
                found.append(self.words[int(ended[t])])
        return found[::-1]


class MiniRecogniser:
    """Network and search."""

    def __init__(self, network: PhoneNetwork, search: Search) -> None:
        self.network, self.search, self.loop = network.eval(), search, WordLoop(search)

    def transcribe(self, samples: F32) -> str:
        """(S,) mono at 16 kHz -> words in lower case; nothing for digital silence and for less than 50 ms."""
        if len(samples) < SHORTEST or not np.any(samples):
            return ""
        return self.read(self.network.posteriors(samples))

    def read(self, posteriors: F32) -> str:
        """(T, V) log probabilities of phones -> words."""
        scores = posteriors - self.search.prior * self.network.log_prior.numpy()
        return " ".join(self.loop.decode(scores.astype(np.float64)))

    def save(self, folder: Path) -> None:
        """The search, beside where `write_weights` puts the network."""
        described = {**asdict(self.search), "phones": list(PHONES)}
        config_path(folder / FILE).write_text(json.dumps(described, ensure_ascii=False) + "\n", encoding="utf-8")


def open_recogniser(folder: Path) -> MiniRecogniser:
    """From a folder of weights. Errors: MissingCheckpoint; CheckpointError for a file that is damaged or another's"""
    path = folder / FILE
    if not path.is_file():
        raise MissingCheckpoint(f"the mini recogniser is not at {path}", fix="reinstall metis-bench")
    network = PhoneNetwork()
    load_into(network, load_tensors(path, dtype=torch.float32), path)
    return MiniRecogniser(network, _read_search(config_path(path)))


def _read_search(path: Path) -> Search:
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        if given.pop("phones") != list(PHONES):
            raise CheckpointError(f"{path} was written for other phones", fix="reinstall metis-bench")
        words = {word: tuple(_pronunciation(way) for way in ways) for word, ways in given["words"].items()}
        prior, insertion = float(given["prior"]), float(given["insertion"])
        if not (words and math.isfinite(prior) and math.isfinite(insertion)):
            raise ValueError("it needs words and two finite numbers")
        return Search(words, prior, insertion)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is no description of a recogniser ({error})", fix="reinstall metis-bench"
        ) from None


def _pronunciation(way: Sequence[int]) -> tuple[int, ...]:
    if not way or not all(type(phone) is int and 0 < phone < len(PHONES) for phone in way):
        raise ValueError(f"{way} is no pronunciation")
    return tuple(way)


def word_errors(said: str, heard: str) -> int:
    """Substitutions, insertions and deletions between two texts."""
    return edits(said.split(), heard.split())


def edits(said: Sequence[str | int], heard: Sequence[str | int]) -> int:
    """Substitutions, insertions and deletions between two sequences."""
    row = list(range(len(heard) + 1))
    for i, one in enumerate(said):
        before, row[0] = row[0], i + 1
        for j, other in enumerate(heard):
            before, row[j + 1] = row[j + 1], min(before + (one != other), row[j] + 1, row[j + 1] + 1)
    return row[-1]
