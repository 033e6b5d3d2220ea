"""Speech to be scored: made by the mini corpus, or the user's own; with a noisy copy of each, and a manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metis_bench.audio import F32, Audio, encode_wav, load
from metis_bench.config import Config
from metis_bench.corpora.folder import AUDIO_SUFFIXES
from metis_bench.corpora.mini import Mini, MiniParams
from metis_bench.errors import AudioError, MissingPrerequisite, UsageError

RATE = 16_000
SECONDS = 5.0  # of a synthetic clip, if not told
SNR_DB = 5.0
SENTENCE_S = 1.5  # about the shortest of the mini corpus
PEAK = 0.9
SAID = "the birch canoe slid on the smooth planks"


@dataclass(frozen=True)
class Utterance:
    """A clean recording at 16 kHz; `text`: what it says, if that is known."""

    name: str
    audio: Audio
    text: str | None


def synthetic(count: int, seconds: float | None, config: Config) -> tuple[list[Utterance], str]:
    """Speech of the mini corpus cut to one length, and what it is; a buzz where eSpeak NG is not installed."""
    length = round(RATE * (seconds or SECONDS))
    try:
        items = -(-round(count * length / RATE) // SENTENCE_S) + count
        corpus = Mini(MiniParams(task="tts", items=int(items)), None, config.cache / "mini")
        spoken = [
            (load(item.reference, RATE).samples, item.text or "") for item in corpus.load().items if item.reference
        ]
    except MissingPrerequisite:
        return [
            Utterance(f"buzz{i}", Audio(buzz(length / RATE, i, RATE), RATE), SAID) for i in range(count)
        ], "a buzz with a moving pitch (no eSpeak NG here)"
    made, rest = [], iter(spoken * count)
    for i in range(count):
        samples = np.zeros(0, np.float32)
        texts: list[str] = []
        while len(samples) < length:
            more, text = next(rest)
            samples, texts = np.concatenate([samples, more]), [*texts, text]
        made.append(Utterance(f"clip{i}", Audio(samples[:length], RATE), " ".join(texts)))
    return made, "synthetic speech (mini corpus)"


def buzz(seconds: float, seed: int, rate: int) -> F32:
    """(T,): harmonics of a moving pitch, and some noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * (0.5 + rng.random()) * t)) / rate
    wave = sum(np.sin(k * phase) / k for k in range(1, 12)) + 0.1 * rng.standard_normal(len(t))
    return np.asarray(0.1 * wave, dtype=np.float32)


def own(folder: Path, count: int, seconds: float | None) -> tuple[list[Utterance], str]:
    """Recordings of a folder, evenly taken, cut to `seconds` if given; texts are the `.txt` beside them.

    Undecodable ones are passed over. Raises UsageError where fewer than two are left.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    chosen = [files[round(i)] for i in np.linspace(0, len(files) - 1, min(count, len(files)))]
    made = []
    for number, file in enumerate(chosen):
        try:
            audio = load(file, RATE)
        except AudioError:
            continue
        cut = audio.samples if seconds is None else audio.samples[: round(RATE * seconds)]
        said = file.with_suffix(".txt")
        text = said.read_text(encoding="utf-8").strip() if said.is_file() else None
        made.append(Utterance(f"clip{number}", Audio(cut, RATE), text))
    if len(made) < 2:
        raise UsageError(
            f"--clips: {len(made)} of the recordings in {folder} can be decoded, and it takes two at least"
        )
    return made, f"recordings in {folder.name}/"


def write(folder: Path, utterances: Sequence[Utterance]) -> None:
    """A corpus of type `folder` for speech enhancement: each clip clean, and at 5 dB in white noise."""
    lines = []
    for number, one in enumerate(utterances):
        clean = one.audio.samples.astype(np.float64)
        noise = np.random.default_rng(number).standard_normal(len(clean))
        noise *= np.sqrt(np.mean(clean**2) / np.mean(noise**2)) * 10 ** (-SNR_DB / 20)
        scale = PEAK / max(PEAK, float(np.abs(clean + noise).max()))
        for part, samples in (("clean", clean), ("noisy", clean + noise)):
            (folder / part).mkdir(parents=True, exist_ok=True)
            whole = np.round(samples * scale * 32768) / 32768  # 16 bits
            audio = Audio(whole.astype(np.float32), one.audio.rate)
            (folder / part / f"{one.name}.wav").write_bytes(encode_wav(audio))
        line = {"id": one.name, "source": f"noisy/{one.name}.wav", "reference": f"clean/{one.name}.wav"}
        lines.append(json.dumps({**line, **({"text": one.text} if one.text else {})}))
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
