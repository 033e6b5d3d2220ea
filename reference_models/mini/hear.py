"""How the mini recogniser is trained: on voices, sentences and disturbances of its own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from reference_models.config import FEATURE_SAMPLE_RATE
from reference_models.errors import InputError
from reference_models.mini.acoustics import F64, generator, reverberate, scale_to_snr
from reference_models.mini.alignment import PAUSE, PHONES
from reference_models.mini.corpus import Recordings
from reference_models.mini.espeak import EspeakEngine, Voice
from reference_models.mini.grammar import SLOTS
from reference_models.mini.listen import Heard, HeardBatch, Listening
from reference_models.mini.recognise import FILE, MiniRecogniser, PhoneNetwork, Search, edits, word_errors
from reference_models.seeds import derive_seed
from reference_models.sizes import MINI_FEATURES
from reference_models.training.models import write_weights
from reference_models.training.objectives import Loss, Objective
from reference_models.training.sounds import SyntheticRooms

ROOMY = 0.3  # share of rows in a room
NOISY, NOISE_DB = 0.5, (3.0, 35.0)  # share of rows; speech over noise
DULL, CUTOFF_HZ = 0.3, (2000.0, 7000.0)  # share of rows without what lies above
BLURRED, BLUR = 0.4, 1.2  # share of rows with a disturbed phase, as vocoders have; up to so many radians
N_FFT, HOP = 512, 128
PRIORS, INSERTIONS = (0.0, 0.5, 1.0), (0.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0)  # that are tried
TEST_DB = (20, 10, 5, 0)
SPREAD = 2  # phones that a word may have more or less in a sentence than alone
MANY = 100  # edits that one more changed word outweighs
Way: TypeAlias = tuple[int, ...]  # a pronunciation, as places in PHONES
Words: TypeAlias = dict[str, tuple[Way, ...]]
Clip: TypeAlias = tuple[NDArray[np.float32], str]  # (S,) at 16 kHz, and what is said


class Hearing(Listening):
    """As `Listening`, disturbed otherwise."""

    purpose = "hear"
    rooms = SyntheticRooms()

    def _disturb(self, samples: F64, number: int, rng: np.random.RandomState) -> F64:
        if rng.uniform() < ROOMY:
            samples = reverberate(samples, self.rooms(rng))[: len(samples)]
        if rng.uniform() < BLURRED:
            samples = blurred(samples, rng.uniform(0, BLUR), rng)
        if rng.uniform() < DULL:
            samples = dull(samples, rng.uniform(*CUTOFF_HZ))
        if rng.uniform() < NOISY:
            added = self.noises(len(samples), f"heard {number}", rng)
            samples = samples + scale_to_snr(samples, added, rng.uniform(*NOISE_DB))
        return samples


def dull(samples: F64, cutoff_hz: float) -> F64:
    """(S,) at 16 kHz without what lies above."""
    spectrum = np.fft.rfft(samples)
    spectrum[round(cutoff_hz * len(samples) / FEATURE_SAMPLE_RATE) :] = 0
    return np.fft.irfft(spectrum, len(samples))


def blurred(samples: F64, radians: float, rng: np.random.RandomState) -> F64:
    """(S,) with Gaussian errors in the phases of its short-time spectrum."""
    window = torch.hann_window(N_FFT, dtype=torch.float64)
    spectrum = torch.stft(torch.from_numpy(samples), N_FFT, HOP, window=window, return_complex=True)  # (F, T)
    turned = torch.from_numpy(radians * rng.standard_normal(tuple(spectrum.shape)))
    out = torch.istft(spectrum * torch.polar(torch.ones_like(turned), turned), N_FFT, HOP, window=window,
                      length=len(samples))  # fmt: skip
    return np.asarray(out.numpy())


class HearObjective(Objective):
    """Phones by cross entropy."""

    def __init__(self, network: PhoneNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: HeardBatch, phase: str = "model") -> Loss:  # noqa: ARG002
        """See `Objective`: counts frames."""
        logits = self.network(batch.filter_banks).float()[batch.valid]  # (N, V)
        labels = batch.labels[batch.valid]  # (N,)
        total = F.cross_entropy(logits, labels, reduction="sum")
        return Loss(total, batch.valid.sum(), {"accuracy": (logits.argmax(-1) == labels).sum()})


def new_network(seed: int = 0) -> PhoneNetwork:
    """Its initial weights drawn by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive_seed("hear", seed))
        return PhoneNetwork()


def hearing(utterances: Sequence[Heard], rows: int, seed: int) -> Hearing:
    """Batches of what is heard."""
    return Hearing(utterances, rows, seed, MINI_FEATURES)


def set_prior(network: PhoneNetwork, utterances: Sequence[Heard]) -> None:
    """How often each phone occurs, one added to each."""
    counts = 1.0 + np.bincount(np.concatenate([u.labels for u in utterances]), minlength=len(PHONES))
    network.log_prior.copy_(torch.from_numpy(np.log(counts / counts.sum())))


def lexicon(made: Recordings, count: int) -> Words:
    """How eSpeak says each word of the grammar alone, and how else within `count` texts of the recordings' split.

    "the" has another vowel before "office", the end of "four" another sound before "ancient".
    """
    alone = {word: spoken(made.engine, word) for word in sorted({"the", *(plain(w) for slot in SLOTS for w in slot)})}
    ways = {word: {way} for word, way in alone.items()}
    for number in range(count):
        text = made.text(number)
        words = plain(text).split()
        for word, way in zip(words, divided(spoken(made.engine, text), [alone[w] for w in words]), strict=True):
            ways[word].add(way)
    return {word: tuple(sorted(found)) for word, found in ways.items()}


def spoken(engine: EspeakEngine, text: str) -> Way:
    """The phones of a text, as places in PHONES, without its pauses."""
    return tuple(PHONES.index(p.plain) for p in engine.synthesize(text, Voice("en-us")).phones if p.plain != PAUSE)


def divided(said: Way, alone: Sequence[Way]) -> tuple[Way, ...]:
    """The phones of a sentence by words: as few words as can be otherwise than alone, and those by as little.

    Errors: InputError where a word would be longer or shorter by more than `SPREAD` phones
    """
    best: dict[int, tuple[int, tuple[Way, ...]]] = {0: (0, ())}  # phones that the words so far take: cost, parts
    for way in alone:
        longer: dict[int, tuple[int, tuple[Way, ...]]] = {}
        for start, (cost, parts) in best.items():
            for end in range(start + max(1, len(way) - SPREAD), min(len(said), start + len(way) + SPREAD) + 1):
                part = said[start:end]
                total = cost + (0 if part == way else MANY + edits(way, part))
                if end not in longer or total < longer[end][0]:
                    longer[end] = total, (*parts, part)
        best = longer
    if len(said) not in best:
        raise InputError("eSpeak says a sentence quite unlike its words", fix="take the version that is required")
    return best[len(said)][1]


def noisy(samples: NDArray[np.float32], db: float, number: int) -> NDArray[np.float32]:
    """(S,) under white noise."""
    noise = generator(derive_seed("hear-test", number)).standard_normal(len(samples))
    mixed: F64 = samples + scale_to_snr(samples.astype(np.float64), noise, db)
    return mixed.astype(np.float32)


def rate(recogniser: MiniRecogniser, clips: Sequence[Clip]) -> float:
    """Word errors over words, of (samples, text)."""
    pairs = [(plain(text), recogniser.transcribe(samples)) for samples, text in clips]
    return sum(word_errors(*pair) for pair in pairs) / sum(len(said.split()) for said, _ in pairs)


def plain(text: str) -> str:
    """A sentence of the grammar as the recogniser writes it."""
    return text.lower().replace(".", "")


def tuned(network: PhoneNetwork, words: Words, clips: Sequence[Clip]) -> MiniRecogniser:
    """With the prior and insertion cost that hear (samples, text) best under noise of 5 dB, the first of the best."""
    heard = [(plain(text), network.posteriors(noisy(samples, 5, i))) for i, (samples, text) in enumerate(clips)]
    tried = (MiniRecogniser(network, Search(words, p, i)) for p, i in itertools.product(PRIORS, INSERTIONS))
    return min(tried, key=lambda r: sum(word_errors(said, r.read(posteriors)) for said, posteriors in heard))


def export(recogniser: MiniRecogniser, folder: Path, facts: dict[str, Any]) -> None:
    """Write network and search."""
    note = "phones by a network and words by a search, for the sentences of the mini corpus alone"
    state = recogniser.network.state_dict()
    write_weights(folder / FILE, state, MINI_FEATURES, MINI_FEATURES, torch.float32, {**facts, "note": note})
    recogniser.save(folder)
