"""Decoding: every format gives its samples, and nothing damaged passes as a shorter or different recording."""

from __future__ import annotations

import csv
import io
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from metis_bench.audio import Audio, decode, encode_wav, load, probe, resample, to_mono
from metis_bench.errors import AudioError

HERE = Path("clip")
FORMATS = [
    ("WAV", "PCM_16"),
    ("WAVEX", "PCM_24"),
    ("WAV", "IMA_ADPCM"),
    ("RF64", "FLOAT"),
    ("FLAC", "PCM_16"),
    ("MP3", "MPEG_LAYER_III"),
    ("OGG", "VORBIS"),
    ("OGG", "OPUS"),
    ("NIST", "PCM_16"),
]


def speechlike(seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    """(T,) float32 on the 16-bit grid: a gliding tone with a little noise."""
    t = np.arange(int(seconds * rate)) / rate
    wave = 0.3 * np.sin(2 * np.pi * (200 + 80 * t) * t) + 0.01 * np.random.default_rng(3).standard_normal(len(t))
    return (np.round(wave * 32768) / 32768).astype(np.float32)


def encoded(samples: np.ndarray, container: str, subtype: str, rate: int = 16000, **options: object) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format=container, subtype=subtype, **options)
    return buffer.getvalue()


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + bytes(len(body) & 1)


def riff(*chunks: bytes) -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


FMT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16))


def pcm16(samples: np.ndarray) -> bytes:
    return (samples * 32768).astype("<i2").tobytes()


# --- real files


def stated(real: Path, folder: str) -> dict[str, dict[str, str]]:
    with (real / "sources.csv").open(newline="", encoding="utf-8") as stream:
        return {row["file"]: row for row in csv.DictReader(stream) if row["file"].startswith(folder)}


FAILING = {"edge/empty.wav": "empty", "edge/truncated.flac": "lost sync", "edge/testing.m4a": "M4A"}


@pytest.mark.parametrize("folder", ["edge/", "rir/", "metrics_ref/", "noise/"])
def test_real_files_decode_as_stated(real: Path, folder: str) -> None:
    rows = stated(real, folder)
    assert len(rows) > 5
    for name, row in rows.items():
        path = real / name
        if path.suffix not in {".wav", ".WAV", ".flac", ".mp3", ".opus", ".sph"} or name in FAILING:
            continue
        samples, info = decode(path.read_bytes(), path)
        assert (info.rate, info.channels, info.subtype) == (int(row["sr"]), int(row["ch"]), row["fmt"]), name
        assert info.seconds == pytest.approx(float(row["dur"]), abs=6e-4), name
        assert samples.shape == (info.frames, info.channels) and samples.dtype == np.float32
        assert probe(path) == info, "the plan records what the run will decode"
        assert np.array_equal(samples, soundfile.read(path, dtype="float32", always_2d=True)[0]), name


@pytest.mark.parametrize(("name", "reason"), FAILING.items())
def test_real_files_that_must_fail(real: Path, name: str, reason: str) -> None:
    with pytest.raises(AudioError, match=reason) as caught:
        load(real / name)
    assert str(real / name) in str(caught.value)
    if name.endswith("m4a"):
        assert "ffmpeg" in str(caught.value)


def test_real_silence_is_silence_and_8_channels_are_averaged(real: Path) -> None:
    assert not load(real / "edge/digital_silence.wav").samples.any()
    path = real / "rir/real_8ch.wav"
    samples, info = decode(path.read_bytes(), path)
    assert info.channels == 8 and info.container == "WAVEX"
    assert load(path).samples == pytest.approx(samples.astype(np.float64).mean(axis=1), abs=1e-7)


def test_real_rates_come_out_right(real: Path) -> None:
    for name, rate in (("edge/bus.opus", 48000), ("edge/mono_float64.wav", 44100), ("edge/example3.sph", 16000)):
        own, at_8k = load(real / name), load(real / name, 8000)
        assert own.rate == rate and at_8k.rate == 8000
        assert len(at_8k.samples) == round(len(own.samples) * 8000 / rate)


# --- round trips


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100, 48000])
def test_wav_round_trip(tmp_path: Path, subtype: str, rate: int) -> None:
    samples = speechlike(0.3, rate)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, rate, subtype=subtype)
    read = load(path)
    assert read.rate == rate and np.array_equal(read.samples, samples)
    assert probe(path).subtype == subtype and probe(path).frames == len(samples)


@pytest.mark.parametrize(
    ("container", "subtype"), [("FLAC", "PCM_16"), ("RF64", "PCM_16"), ("NIST", "PCM_16"), ("WAVEX", "PCM_24")]
)
def test_other_lossless_round_trips(container: str, subtype: str) -> None:
    stereo = np.stack([speechlike(), speechlike()[::-1]], axis=1)
    samples, info = decode(encoded(stereo, container, subtype), HERE)
    assert np.array_equal(samples, stereo) and info.container == container


def test_big_endian_wav() -> None:
    data = encoded(speechlike(), "WAV", "PCM_16", endian="BIG")
    assert data[:4] == b"RIFX" and np.array_equal(decode(data, HERE)[0][:, 0], speechlike())
    with pytest.raises(AudioError, match="truncated wav"):
        decode(data[:-100], HERE)


@pytest.mark.parametrize(("container", "subtype"), [("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III"), ("OGG", "OPUS")])
def test_lossy_round_trips_keep_length_and_tone(container: str, subtype: str) -> None:
    samples = (0.3 * np.sin(2 * np.pi * 500 * np.arange(16000) / 16000)).astype(np.float32)
    read, info = decode(encoded(samples, container, subtype), HERE)
    assert (info.rate, info.frames, info.container) == (16000, 16000, container)
    spectrum = np.abs(np.fft.rfft(read[:, 0]))
    assert int(spectrum.argmax()) == 500
    assert np.sqrt((read**2).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.05)


# --- wav headers


def test_odd_list_chunk_before_the_data() -> None:
    data = riff(FMT, chunk(b"LIST", b"INFOabc"), chunk(b"data", pcm16(speechlike())))
    assert np.array_equal(decode(data, HERE)[0][:, 0], speechlike())
    with pytest.raises(AudioError, match=r"promises 32000 bytes of audio, 31990"):
        decode(data[:-10], HERE)


def test_header_that_promises_more_than_there_is(tmp_path: Path) -> None:
    path = tmp_path / "short.wav"
    path.write_bytes(riff(FMT, chunk(b"data", pcm16(speechlike()), size=64000)))
    for read in (load, probe):
        with pytest.raises(AudioError, match="promises 64000 bytes of audio, 32000 are there"):
            read(path)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF])
def test_wav_written_to_a_pipe(size: int) -> None:
    samples, info = decode(riff(FMT, chunk(b"data", pcm16(speechlike()), size=size)), HERE)
    assert np.array_equal(samples[:, 0], speechlike()) and info.frames == 16000


def test_truncated_rf64() -> None:
    data = encoded(speechlike(), "RF64", "PCM_16")
    with pytest.raises(AudioError, match="truncated wav"):
        decode(data[:-10], HERE)


def test_wav_without_samples() -> None:
    for data in (riff(FMT, chunk(b"data", b"")), riff(FMT, chunk(b"data", pcm16(speechlike()), size=0))):
        with pytest.raises(AudioError, match="no samples"):
            decode(data, HERE)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_refused(value: float) -> None:
    samples = speechlike()
    samples[5] = value
    with pytest.raises(AudioError, match="NaN"):
        decode(encoded(samples, "WAV", "FLOAT"), HERE)


def test_samples_above_full_scale_keep_their_level() -> None:
    loud = speechlike() * 10
    assert np.array_equal(decode(encoded(loud, "WAV", "FLOAT"), HERE)[0][:, 0], loud)


@pytest.mark.parametrize("rate", [4000, 384000])
def test_absurd_rates_are_refused(rate: int) -> None:
    with pytest.raises(AudioError, match=f"sample rate {rate}"):
        decode(encoded(speechlike(), "WAV", "PCM_16", rate=rate), HERE)


def test_block_codecs_and_other_containers() -> None:
    assert decode(encoded(speechlike(), "WAV", "GSM610"), HERE)[1].frames >= 16000  # not seekable in libsndfile
    for container in ("AIFF", "CAF", "AU", "W64"):  # their truncation is not checked, so they are not read
        with pytest.raises(AudioError, match=f"{container} audio is not supported") as caught:
            decode(encoded(speechlike(), container, "PCM_16"), HERE)
        assert "ffmpeg" in str(caught.value)


@pytest.fixture
def unraisable(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What would be printed as 'Exception ignored from cffi callback ...'."""
    seen: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda problem: seen.append(problem.exc_value))
    return seen


def test_damaged_headers_print_no_traceback(unraisable: list[object]) -> None:
    data = bytearray(encoded(speechlike(), "AIFF", "PCM_16"))
    data[38] ^= 1  # makes libsndfile seek to -1, inside a callback that cannot raise
    with pytest.raises(AudioError):
        decode(bytes(data), HERE)
    assert unraisable == []


# --- flac


def flac_with_total(total: int) -> bytes:
    data = bytearray(encoded(speechlike(), "FLAC", "PCM_16"))
    data[21] = (data[21] & 0xF0) | total >> 32  # 36 bits of STREAMINFO
    data[22:26] = struct.pack(">I", total & 0xFFFFFFFF)
    return bytes(data)


def test_flac_lengths() -> None:
    assert len(decode(flac_with_total(16000), HERE)[0]) == 16000
    with pytest.raises(AudioError, match="does not say how long"):
        decode(flac_with_total(0), HERE)
    for total in (16001, 20000, (1 << 36) - 1):  # the last one asks for 256 GB
        with pytest.raises(AudioError):
            decode(flac_with_total(total), HERE)


def test_damaged_flac_is_refused() -> None:
    data = bytearray(encoded(speechlike(), "FLAC", "PCM_16"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(AudioError, match="flac"):
        decode(bytes(data), HERE)


# --- not audio at all


@pytest.mark.parametrize(
    "content", [b"", b"hello, this is text\n" * 50, b"RIFF", b"RIFF\0\0\0\0WAVE", b"OggS", b"ID3", b"\xff\xfb"]
)
@pytest.mark.parametrize("suffix", [".wav", ".raw", ".gsm", ".mp3"])
def test_content_that_is_not_audio(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    for read in (load, probe):
        with pytest.raises(AudioError, match="x") as caught:
            read(path)
        assert "0x" not in str(caught.value), "no addresses of buffers"


def test_the_name_does_not_decide_the_format(tmp_path: Path) -> None:
    path = tmp_path / "speech.raw"
    path.write_bytes(encoded(speechlike(), "WAV", "PCM_16"))
    assert probe(path).container == "WAV" and np.array_equal(load(path).samples, speechlike())


def test_git_lfs_pointer_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 320044\n")
    with pytest.raises(AudioError, match="git-lfs pointer"):
        load(path)


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path in (tmp_path, tmp_path / "absent.wav", tmp_path / "pipe.wav", Path("a\0b.wav"), tmp_path / ("x" * 300)):
        for read in (load, probe):
            with pytest.raises(AudioError):
                read(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(encoded(speechlike(), "WAV", "PCM_16"))
    path.chmod(0)
    with pytest.raises(AudioError, match="Permission denied"):
        load(path)


# --- truncation and random damage


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_truncated_files_never_decode_shorter(container: str, subtype: str) -> None:
    """Ogg by its end-of-stream page, mp3 by its length tag and last frame, the rest by its header."""
    data = encoded(speechlike(), container, subtype)
    decode(data, HERE)
    for keep in (0.1, 0.5, 0.9, 0.99):
        with pytest.raises(AudioError):
            decode(data[: int(len(data) * keep)], HERE)


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_random_damage_gives_audio_or_an_audio_error(container: str, subtype: str, unraisable: list[object]) -> None:
    rng = np.random.default_rng(7)
    whole = encoded(speechlike(), container, subtype)
    refused = 0
    for case in range(60):
        data = bytearray(whole)
        if case % 3 == 0:
            data = data[: rng.integers(0, len(data))]
        for _ in range(rng.integers(1, 5)):
            if data:  # a third of the flips in the header
                data[rng.integers(0, min(len(data), 200) if case % 3 == 1 else len(data))] ^= 1 << rng.integers(0, 8)
        try:
            samples, info = decode(bytes(data), HERE)
        except AudioError:
            refused += 1
            continue
        assert samples.shape == (info.frames, info.channels) and info.frames > 0 and np.isfinite(samples).all()
    assert refused >= 20, "every truncated one"
    assert unraisable == []


# --- resampling, mono, encoding


def test_to_mono_is_the_mean() -> None:
    stereo = np.array([[0.5, -0.5], [1.0, 0.0], [0.25, 0.75]], dtype=np.float32)
    assert np.array_equal(to_mono(stereo), np.array([0.0, 0.5, 0.5], dtype=np.float32))
    assert np.array_equal(to_mono(stereo[:, :1]), stereo[:, 0])


@pytest.mark.parametrize(
    ("source", "target"), [(48000, 16000), (16000, 48000), (44100, 16000), (22050, 24000), (8000, 16000)]
)
def test_resampling_keeps_duration_level_and_tone(source: int, target: int) -> None:
    tone = (0.5 * np.sin(2 * np.pi * 1000 * np.arange(source) / source)).astype(np.float32)
    out = resample(tone, source, target)
    assert out.dtype == np.float32 and len(out) == target
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(target) / target)
    assert np.abs(out - expected)[500:-500].max() < 2e-3  # in phase, so not shifted either


def test_resampling_removes_what_would_alias() -> None:
    tone = (0.5 * np.sin(2 * np.pi * 12000 * np.arange(48000) / 48000)).astype(np.float32)
    assert np.abs(resample(tone, 48000, 16000)[500:-500]).max() < 1e-4


def test_resampling_tiny_clips_and_same_rate() -> None:
    for length in (1, 22, 441):
        assert len(resample(np.ones(length, dtype=np.float32), 44100, 16000)) == round(length * 16000 / 44100)
    clip = Audio(speechlike(), 16000)
    assert clip.resampled(16000) is clip and clip.seconds == 1.0


def test_encode_wav_is_lossless_and_deterministic() -> None:
    for samples, subtype in ((speechlike(), "PCM_16"), (speechlike() / 3, "FLOAT"), (speechlike() * 9, "FLOAT")):
        data = encode_wav(Audio(samples, 24000))
        assert data == encode_wav(Audio(samples.copy(), 24000))
        read, info = decode(data, HERE)
        assert np.array_equal(read[:, 0], samples) and (info.rate, info.subtype) == (24000, subtype)


def test_encode_wav_at_the_edges_of_16_bits() -> None:
    for samples, subtype in (([-1.0, 32767 / 32768], "PCM_16"), ([-1.0, 1.0], "FLOAT")):
        read, info = decode(encode_wav(Audio(np.array(samples, dtype=np.float32), 8000)), HERE)
        assert read[:, 0].tolist() == samples and info.subtype == subtype


def test_encoded_nan_does_not_decode() -> None:
    with pytest.raises(AudioError, match="NaN"):
        decode(encode_wav(Audio(np.array([0.1, np.nan], dtype=np.float32), 16000)), HERE)
