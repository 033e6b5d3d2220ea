from __future__ import annotations

import itertools
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile

from reference_models.errors import InputError, MissingPackage
from reference_models.lips import open_video, read_audio, video
from reference_models.lips.video import resample
from tests.reference_models.lips.clips import grey_ramp, numbers, turn, write_video

av = pytest.importorskip("av")


def test_a_film_at_25_frames_passes_unchanged(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", grey_ramp(40))
    film = open_video(path)
    frames = list(film)
    assert numbers(frames) == list(range(40))
    assert (film.height, film.width) == (64, 64)
    assert all(f.shape == (64, 64, 3) and f.dtype == np.uint8 for f in frames)
    assert numbers(list(film)) == list(range(40)), "a second pass sees the same"


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (50, [*range(1, 40, 2)]),  # of two frames that round to one tick, the later
        (5, [i // 5 for i in range(200)]),
        (30, None),
        (24, None),
    ],
)
def test_other_rates_are_resampled_as_by_ffmpeg(tmp_path: Path, fps: int, expected: list[int] | None) -> None:
    path = write_video(tmp_path / "a.mp4", grey_ramp(40), fps)
    got = numbers(list(open_video(path)))
    assert got == fps_filter([Fraction(i, fps) for i in range(40)])
    assert expected is None or len(got) in (len(expected), len(expected) + 1)
    assert abs(len(got) - 40 * 25 / fps) <= 1


def test_irregular_times_are_resampled_as_by_ffmpeg() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        times = [Fraction(int(t), 1000) for t in np.cumsum(rng.integers(1, 120, size=30))]
        assert [frame.pts for frame in resample(timed(times))] == fps_filter(times)


def timed(times: list[Fraction]) -> list[tuple[Fraction, av.VideoFrame]]:
    """Blank frames whose pts is their number."""
    frames = [av.VideoFrame(16, 16, "gray") for _ in times]
    for i, frame in enumerate(frames):
        frame.pts = i
    return list(zip(times, frames, strict=True))


def fps_filter(times: list[Fraction]) -> list[int]:
    """libavfilter's own `fps` on flat frames at these times: which one each tick shows.

    The duration of the last frame, which the filter takes from the file, is that of the one before.
    """
    base = Fraction(1, 600_000)
    graph = av.filter.Graph()
    source = graph.add_buffer(width=16, height=16, format=av.VideoFormat("gray"), time_base=base)
    rate, sink = graph.add("fps", "25"), graph.add("buffersink")
    source.link_to(rate)
    rate.link_to(sink)
    graph.configure()
    shown: list[int] = []

    def drain() -> None:
        while True:
            try:
                shown.append(int(graph.pull().to_ndarray()[0, 0]))
            except (av.error.BlockingIOError, av.error.EOFError):
                return

    ends = [*times[1:], 2 * times[-1] - times[-2]]
    for i, (time, end) in enumerate(zip(times, ends, strict=True)):
        frame = av.VideoFrame.from_ndarray(np.full((16, 16), i, np.uint8), format="gray")
        frame.time_base, frame.pts = base, int((time - times[0]) / base)
        frame.duration = int((end - time) / base)
        graph.push(frame)
        drain()
    graph.push(None)
    drain()
    return shown


def test_phone_videos_stand_upright(tmp_path: Path) -> None:
    frames = np.zeros((3, 48, 64, 3), np.uint8)
    frames[:, :, 32:] = 255  # bright on the right; turned clockwise: bright at the bottom
    path = write_video(tmp_path / "a.mp4", frames)
    turn(path)
    film = open_video(path)
    assert (film.height, film.width) == (64, 48)
    first = next(iter(film))
    assert first.shape == (64, 48, 3)
    assert first[:28].mean() < 40 < 200 < first[36:].mean()


@pytest.mark.parametrize(("suffix", "options"), [("mp4", {"movflags": "faststart"}), ("avi", {}), ("mkv", {})])
def test_a_truncated_film_is_refused(tmp_path: Path, suffix: str, options: dict[str, str]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (50, 64, 64, 3), dtype=np.uint8)
    whole = write_video(tmp_path / f"whole.{suffix}", noise, options=options)
    assert len(list(open_video(whole))) == 50
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 6 // 10])
    with pytest.raises(InputError, match="truncated"):
        list(open_video(cut))


def test_a_damaged_film_is_refused(tmp_path: Path) -> None:
    """Its header and length are right; the decoder guesses what it cannot read, and goes on."""
    rng = np.random.default_rng(0)
    whole = write_video(tmp_path / "whole.mp4", rng.integers(0, 255, (50, 64, 64, 3), dtype=np.uint8))
    content = np.frombuffer(whole.read_bytes(), np.uint8).copy()
    content[rng.integers(len(content) // 4, len(content) // 2, 300)] ^= 0xFF
    (tmp_path / "damaged.mp4").write_bytes(content.tobytes())
    with pytest.raises(InputError, match=r"damaged.* after 0\.\d\d s"):
        list(open_video(tmp_path / "damaged.mp4"))


def test_a_film_without_its_index_is_refused(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", grey_ramp(20))  # the index stands at the end
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-200])
    with pytest.raises(InputError, match="truncated"):
        open_video(tmp_path / "cut.mp4")


def test_frames_are_decoded_one_by_one(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (250, 64, 64, 3), dtype=np.uint8)
    whole = write_video(tmp_path / "whole.mp4", noise, options={"movflags": "faststart"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size * 8 // 10])
    assert len(list(itertools.islice(open_video(cut), 20))) == 20, "the damage lies far behind"


def test_what_is_no_film_is_refused(tmp_path: Path) -> None:
    text, sound = tmp_path / "a.mp4", tmp_path / "sound.wav"
    text.write_text("not a film")
    soundfile.write(sound, np.zeros(1600), 16_000)
    (tmp_path / "empty.mp4").touch()
    for path, reason in [
        (text, "no video file"),
        (tmp_path / "empty.mp4", "no video file"),
        (tmp_path / "absent.mp4", "no such file"),
        (tmp_path, "no such file"),
        (sound, "no picture"),
    ]:
        with pytest.raises(InputError, match=reason):
            open_video(path)


def test_absurd_sizes_and_lengths_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "a.mp4", grey_ramp(50))
    monkeypatch.setattr(video, "MAX_SECONDS", 1)
    with pytest.raises(InputError, match="2 s, longer than 1 s"):
        open_video(path)
    with pytest.raises(InputError, match="longer than 1 s"), monkeypatch.context() as patch:
        patch.setattr(video, "_declared", lambda *_: None)  # a header that says nothing
        list(open_video(path))
    monkeypatch.setattr(video, "MAX_SIDE", 63)
    with pytest.raises(InputError, match="64 x 64 pixels"):
        open_video(path)


def test_without_pyav_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackage, match=r"metis-bench\[lips\]"):
        open_video(tmp_path / "a.mp4")


def test_sound_comes_at_16_khz_with_channels_averaged(tmp_path: Path) -> None:
    time = np.arange(48_000) / 48_000
    stereo = np.stack([0.5 * np.sin(2 * np.pi * 440 * time), np.zeros(48_000)], axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 48_000, subtype="FLOAT")
    mono = read_audio(tmp_path / "a.wav")
    assert mono is not None and mono.dtype == np.float32 and mono.shape == (16_000,)
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(mono[500:-500], expected[500:-500], atol=1e-4)


def test_sound_at_16_khz_is_untouched(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-30_000, 30_000, 5000, dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16_000)
    mono = read_audio(tmp_path / "a.wav")
    assert mono is not None
    np.testing.assert_array_equal(mono, samples / np.float32(32_768))


def test_sound_is_optional(tmp_path: Path) -> None:
    assert read_audio(write_video(tmp_path / "mute.mp4", grey_ramp(5))) is None
    silence = read_audio(write_video(tmp_path / "silent.mp4", grey_ramp(5), audio=True))
    assert silence is not None and len(silence) >= 16_000 and not silence.any()


def test_real_talking_faces(real: Path) -> None:
    for path in sorted((real / "lrs").rglob("*.mp4")):
        film = open_video(path)
        frames = sum(1 for _ in film)
        assert frames == (200 if film.width == 512 else 75), path
        sound = read_audio(path)
        assert sound is not None and abs(len(sound) / 16_000 - frames / 25) < 0.15 and np.abs(sound).max() > 0.05
