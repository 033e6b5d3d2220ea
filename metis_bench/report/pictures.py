"""Small pictures of outputs: waveform above, spectrogram below, as PNG files with a palette of their own."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metis_bench import audio
from metis_bench.errors import MetisBenchError

WIDTH, WAVE, BANDS = 320, 40, 64  # pixels
FOLDER = "pictures"
TOP_HZ, RANGE_DB = 8000.0, 80.0
FRAME = 512
STOPS = ((8, 10, 28), (64, 26, 110), (170, 50, 100), (240, 130, 50), (252, 240, 180))  # quiet to loud


def write_pictures(outputs: Mapping[str, Path], folder: Path) -> dict[str, str]:
    """A picture an output, by sha256; returns their URLs. What cannot be read has none: its page says so already."""
    urls: dict[str, str] = {}
    for sha256, path in outputs.items():
        try:
            sound = audio.load(path)
        except MetisBenchError:
            continue
        (folder / FOLDER).mkdir(exist_ok=True)
        urls[sha256] = f"{FOLDER}/{sha256[:16]}.png"
        (folder / urls[sha256]).write_bytes(_png(picture(np.asarray(sound.samples), sound.rate)))
    return urls


def picture(samples: NDArray[np.float32], rate: int) -> NDArray[np.uint8]:
    """(WAVE + BANDS, WIDTH) colour numbers of a mono signal at `rate` Hz."""
    mono = samples if samples.ndim == 1 else samples.mean(axis=tuple(range(1, samples.ndim)))
    mono = np.pad(mono, (0, max(0, FRAME - len(mono))))
    return np.concatenate([_waveform(mono), _spectrogram(mono, rate)])


def _waveform(mono: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Peaks of each column around the middle line."""
    ends = np.linspace(0, len(mono), WIDTH + 1).astype(int)
    peaks = np.array([np.abs(mono[a : max(b, a + 1)]).max() for a, b in pairwise(ends)])
    distance = np.abs(np.arange(WAVE) - (WAVE - 1) / 2)[:, None] / (WAVE / 2)
    shape: NDArray[np.uint8] = np.uint8(190) * (distance <= np.minimum(peaks, 1)[None] + 1 / WAVE).astype(np.uint8)
    return shape


def _spectrogram(mono: NDArray[np.float32], rate: int) -> NDArray[np.uint8]:
    """Loudness of BANDS bands up to TOP_HZ, the highest first, RANGE_DB below the loudest."""
    starts = np.linspace(0, len(mono) - FRAME, WIDTH).astype(int)
    frames = mono[starts[:, None] + np.arange(FRAME)] * np.hanning(FRAME)
    power = np.abs(np.fft.rfft(frames, axis=1)) ** 2
    edges = np.linspace(0, min(TOP_HZ / rate * FRAME, power.shape[1] - 1), BANDS + 1)
    bins = np.round((edges[:-1] + edges[1:]) / 2).astype(int)
    decibels = 10 * np.log10(power[:, bins].T[::-1] + 1e-12)
    scaled = 255 * (1 + (decibels - max(float(decibels.max()), -60.0)) / RANGE_DB)
    coloured: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return coloured


def _png(pixels: NDArray[np.uint8]) -> bytes:
    """An 8 bit PNG with a palette."""
    height, width = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    parts = ((b"IHDR", header), (b"PLTE", _palette()), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def _palette() -> bytes:
    places = np.linspace(0, len(STOPS) - 1, 256)
    channels: Iterable[NDArray[np.float64]] = (
        np.interp(places, range(len(STOPS)), [stop[c] for stop in STOPS]) for c in range(3)
    )
    return np.stack([np.round(c) for c in channels], axis=1).astype(np.uint8).tobytes()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
