"""Other voices at the same times."""

import sys
import types

import numpy as np
import pytest
import soundfile
import torch

from reference_models.errors import InputError, MissingPackage
from reference_models.training import perturb
from reference_models.training.perturb import Voice, draw_voice, make_converter, resampled, revoice, stretch
from reference_models.training.sounds import Voices, at_16k
from tests.reference_models.training.speech import stream, talk, utterances


def speech(pitch=120.0, seconds=2.0):
    return at_16k(talk(0, seconds, pitch=pitch))


def pitch_of(samples):
    """Hz, by autocorrelation over the middle."""
    middle = samples[8000:16000]
    power = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 2**16)) ** 2
    correlation = np.fft.irfft(power)[: 16000 // 60]
    lag = 16000 // 350 + int(correlation[16000 // 350 :].argmax())
    return 16000 / lag


def centroid(samples):
    power = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / 16000)
    return (hertz * power).sum() / power.sum()


def loudness(samples):
    """Over time: 25 ms steps."""
    return np.sqrt((samples[: len(samples) // 400 * 400].reshape(-1, 400) ** 2).mean(1))


@pytest.mark.parametrize("factor", [0.75, 1.0, 1.4])
def test_world_moves_the_pitch(factor):
    pytest.importorskip("pyworld")
    moved = revoice(speech(), Voice(pitch=factor, melody=1.0, formants=1.0))
    assert pitch_of(moved) / pitch_of(speech()) == pytest.approx(factor, rel=0.04)


@pytest.mark.parametrize("factor", [0.8, 1.25])
def test_world_moves_the_resonances_and_not_the_pitch(factor):
    pytest.importorskip("pyworld")
    before, moved = speech(), revoice(speech(), Voice(pitch=1.0, melody=1.0, formants=factor))
    assert centroid(moved) / centroid(before) == pytest.approx(factor, rel=0.08)
    assert pitch_of(moved) == pytest.approx(pitch_of(before), rel=0.03)


@pytest.mark.parametrize("convert", [perturb.world, resampled])
def test_times_loudness_and_length_stay(convert):
    pytest.importorskip("pyworld")
    for seed in range(4):
        before = speech(seconds=2.0 + 0.0317 * seed)
        after = convert(before, stream(seed))
        assert len(after) == len(before)
        assert np.sqrt(np.mean(after**2)) == pytest.approx(np.sqrt(np.mean(before**2)), rel=1e-6)
        assert np.corrcoef(loudness(before), loudness(after))[0, 1] > 0.9  # the same syllables at the same times
        assert np.abs(np.corrcoef(before, after)[0, 1]) < 0.9
        assert np.array_equal(after, convert(before, stream(seed)))
        assert not np.allclose(after, convert(before, stream(seed + 100)))


def test_unvoiced_and_silent_stretches_survive():
    pytest.importorskip("pyworld")
    hiss = 0.01 * np.random.RandomState(0).standard_normal(16000)
    for convert in (perturb.world, resampled):
        assert np.isfinite(convert(hiss, stream(0))).all()
        assert np.isfinite(convert(np.concatenate([np.zeros(8000), hiss]), stream(0))).all()


def test_drawn_voices_fill_their_limits():
    voices = [draw_voice(stream(seed)) for seed in range(2000)]
    semitones = 12 * np.log2([v.pitch for v in voices])
    formants = np.log([v.formants for v in voices]) / np.log(1.25)
    melody = np.array([v.melody for v in voices])
    for values, low, high in ((semitones, -6, 6), (formants, -1, 1), (melody, 0.7, 1.3)):
        span = high - low
        assert low <= values.min() < low + 0.02 * span
        assert high - 0.02 * span < values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 0.03 * span


@pytest.mark.parametrize("factor", [0.8, 0.95, 1.0, 1.1, 1.25])
def test_stretching_keeps_the_pitch(factor):
    before = speech()
    after = stretch(before, round(factor * len(before)))
    assert len(after) == round(factor * len(before))
    t = np.arange(32000) / 16000
    tone = stretch(np.sin(2 * np.pi * 200 * t), round(factor * 32000))
    assert pitch_of(tone) == pytest.approx(200, rel=0.02)
    middle = tone[4000:-4000]
    assert np.abs(middle).max() < 1.1
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5**0.5, rel=0.05)  # pieces fit together


def test_without_pyworld_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyworld", None)
    with pytest.raises(MissingPackage, match=r"metis-bench\[embedded\]"):
        perturb.world(speech(), stream(0))


class ToneColourConverter:
    """The interface of OpenVoice's, with a model that draws from torch's generator, as its does."""

    hps = types.SimpleNamespace(data=types.SimpleNamespace(sampling_rate=22050))

    def extract_se(self, ref_wav_list):
        (file,) = ref_wav_list
        return soundfile.read(file)[0].std()

    def convert(self, audio_src_path, src_se, tgt_se, output_path=None):
        wav, rate = soundfile.read(audio_src_path)
        assert (rate, src_se) == (16000, pytest.approx(wav.std()))
        seconds = len(wav) / rate
        t = np.arange(int(seconds * 22050 / 256) * 256) / 22050  # whole frames, as a vocoder's
        return (np.sin(2 * np.pi * 300 * t) * tgt_se + 0.001 * torch.randn(len(t)).numpy()).astype(np.float32)


def test_openvoice(monkeypatch):
    module = types.ModuleType("my_converter")
    module.make = ToneColourConverter
    monkeypatch.setitem(sys.modules, "my_converter", module)
    convert = make_converter("openvoice=my_converter:make", Voices.of(utterances()))
    state = torch.random.get_rng_state()
    after = convert(speech(), stream(0))
    assert torch.equal(state, torch.random.get_rng_state())
    assert len(after) == len(speech())
    assert pitch_of(after) == pytest.approx(300, rel=0.02)  # resampled to 16 kHz
    torch.manual_seed(123)  # does not matter
    assert np.array_equal(after, convert(speech(), stream(0)))
    assert not np.array_equal(after, convert(speech(), stream(1)))


@pytest.mark.parametrize(
    "name", ["wrold", "openvoice", "openvoice=x", "openvoice=no_such_module:f", "openvoice=sys:nothing"]
)
def test_unknown_converters_are_refused(name):
    with pytest.raises(InputError):
        make_converter(name, Voices.of([]))
