"""What mp3 and ogg streams promise: the cases in which libsndfile alone returns less and says nothing."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from metis_bench.audio import decode
from metis_bench.errors import AudioError
from reference_models.containers import _mp3_frame, _ogg_checksum, inspect

HERE = Path("clip")
ID3V1 = b"TAG" + bytes(125)


def encoded(samples: np.ndarray, container: str, subtype: str, rate: int = 16000, **options: object) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype, **options)
    return buffer.getvalue()


def loud_then_quiet(rate: int = 16000, channels: int = 1) -> np.ndarray:
    noise = 0.3 * np.random.default_rng(0).standard_normal((rate, channels)).clip(-1, 1)
    return np.concatenate([noise, np.zeros((2 * rate, channels))]).astype(np.float32)


def mp3(mode: str, rate: int = 16000, channels: int = 1) -> bytes:
    options = {"bitrate_mode": mode, "compression_level": 0.0}
    return encoded(loud_then_quiet(rate, channels), "MP3", "MPEG_LAYER_III", rate, **options)


def without_tag(data: bytes) -> bytes:
    first = _mp3_frame(data, 0)
    assert first is not None and (b"Xing" in data[: first.size] or b"Info" in data[: first.size])
    return data[first.size :]


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_with_and_without_length_tag(rate: int, mode: str, channels: int) -> None:
    whole = mp3(mode, rate, channels)
    samples, info = decode(whole, HERE)
    assert samples.shape == (3 * rate, channels) and info.rate == rate
    bare = without_tag(whole)
    every, _ = decode(bare, HERE)
    # an untagged stream keeps the encoder's delay and padding, and nothing else differs
    delay = min(range(2500), key=lambda d: float(np.abs(every[d : d + 2000] - samples[:2000]).max()))
    assert delay > 500 and len(every) >= len(samples) + delay
    assert np.abs(every[delay : delay + len(samples)] - samples).max() < 1e-3


def test_libsndfile_alone_would_lose_most_of_an_untagged_variable_rate_mp3() -> None:
    bare = without_tag(mp3("VARIABLE"))
    alone, _ = soundfile.read(io.BytesIO(bare), dtype="float32", always_2d=True)
    every, _ = decode(bare, HERE)
    assert inspect(bare).frames == len(every) > 1.5 * len(alone)
    assert np.array_equal(every[: len(alone)], alone), "more of the same samples, none of them changed"


def test_mp3_cut_off() -> None:
    whole = mp3("VARIABLE")
    for data in (whole, without_tag(whole)):
        for cut in (1, 3, 50, len(data) // 2 + 1):
            with pytest.raises(AudioError, match="mp3"):
                decode(data[:-cut], HERE)


def test_mp3_cut_between_two_frames_is_seen_by_its_tag_only() -> None:
    whole = mp3("CONSTANT")
    frame = _mp3_frame(whole, 0)
    assert frame is not None and len(whole) % frame.size == 0
    with pytest.raises(AudioError, match=r"promises \d+ frames"):
        decode(whole[: -frame.size], HERE)
    bare = without_tag(whole)
    assert len(decode(bare[: -frame.size], HERE)[0]) == len(decode(bare, HERE)[0]) - frame.samples  # nothing can tell


def test_mp3_tags_and_padding_around_the_frames_are_not_audio() -> None:
    whole = mp3("VARIABLE")
    id3v2 = b"ID3\4\0\0\0\0\2\0" + bytes(256)
    expected = decode(whole, HERE)[0]
    for data in (
        id3v2 + whole,
        id3v2 + id3v2 + whole,
        whole + ID3V1,
        whole + bytes(5000),
        whole + b"APETAGEX" + bytes(99),
    ):
        assert np.array_equal(decode(data, HERE)[0], expected)


def test_mp3_with_junk_between_its_frames_and_joined_mp3s() -> None:
    whole = mp3("VARIABLE")
    bare = without_tag(whole)
    frame = _mp3_frame(bare, 0)
    assert frame is not None
    for data, reason in (
        (bare[: frame.size] + b"junk" + bare[frame.size :], "no frame at byte"),
        (whole + whole, "promises"),
    ):
        with pytest.raises(AudioError, match=reason):
            decode(data, HERE)


def test_other_mpeg_audio_is_named() -> None:
    with pytest.raises(AudioError, match="layer III"):
        decode(b"\xff\xfd\x80\xc4" + bytes(1000), HERE)  # layer II


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_damage(subtype: str) -> None:
    whole = encoded(loud_then_quiet(), "OGG", subtype)
    samples = decode(whole, HERE)[0]
    assert len(samples) == 48000
    assert np.array_equal(decode(whole + ID3V1, HERE)[0], samples)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    starts = [i for i in range(len(whole)) if whole[i : i + 4] == b"OggS"]
    cases = {
        "more bytes": whole[:-1],
        "end-of-stream": whole[: starts[-1]],
        "checksum": bytes(flipped),
        "pages are missing": whole[: starts[-2]] + whole[starts[-1] :],
        "chained": whole + whole,
    }
    for reason, data in cases.items():
        with pytest.raises(AudioError, match=reason):
            decode(data, HERE)


def test_ogg_checksum_is_the_one_in_the_pages() -> None:
    page = encoded(loud_then_quiet(), "OGG", "VORBIS")
    page = page[: page.index(b"OggS", 4)]
    assert _ogg_checksum(page) == struct.unpack_from("<I", page, 22)[0] != 0


def test_sphere_sample_count() -> None:
    whole = encoded(loud_then_quiet(), "NIST", "PCM_16")
    assert inspect(whole).frames == 48000
    with pytest.raises(AudioError, match="48000 samples, 47900 decode"):
        decode(whole[:-200], HERE)
    assert len(decode(whole + bytes(100), HERE)[0]) == 48000  # what follows is no audio
