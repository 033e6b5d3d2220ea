"""Simulation: chances, ratios, spectra, prompts, and what everything depends on."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import soundfile

from reference_models import features
from reference_models.errors import InputError
from reference_models.training import simulate as sim
from reference_models.training.simulate import Chances, Degradation, World, degrade, draw_degradation, draw_prompt
from reference_models.training.sounds import (
    RecordedNoise,
    RecordedRooms,
    SyntheticNoise,
    SyntheticRooms,
    Voices,
    at_16k,
    excerpt,
)
from reference_models.training.sources import Utterance
from tests.reference_models.training.speech import stream, talk, utterances

SEEDS = 2000


def clean(seed=0, seconds=2.0):
    return at_16k(talk(seed, seconds))


def simple_world(**about):
    voices = Voices.of(utterances())
    return World(noises=SyntheticNoise(voices), voices=voices, converter=lambda samples, _rng: -samples, **about)


def power_spectrum(samples):
    return np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2  # without a window, the ends look like noise


def db(signal, noise):
    return 10 * np.log10(np.sum(signal**2) / np.sum(noise**2))


def test_chances_are_the_papers():
    drawn = [draw_degradation(Chances(), stream(seed)) for seed in range(SEEDS)]

    def share(hits):
        return sum(hits) / SEEDS

    def sigma(p):
        return (p * (1 - p) / SEEDS) ** 0.5

    assert abs(share(d.snr_db is not None for d in drawn) - 0.9) < 4 * sigma(0.9)
    assert abs(share(d.reverb for d in drawn) - 0.35) < 4 * sigma(0.35)
    for band in (2000, 4000, 8000):
        assert abs(share(d.band_hz == band for d in drawn) - 0.25 / 3) < 4 * sigma(0.25 / 3)
    # each on its own
    assert abs(share(d.reverb and d.band_hz is not None for d in drawn) - 0.35 * 0.25) < 4 * sigma(0.0875)
    snrs = np.sort([d.snr_db for d in drawn if d.snr_db is not None])
    assert -5 <= snrs[0] < -4.8
    assert 19.8 < snrs[-1] <= 20
    uniform = -5 + 25 * (np.arange(len(snrs)) + 0.5) / len(snrs)
    assert np.abs(snrs - uniform).max() < 25 * 1.95 / len(snrs) ** 0.5  # Kolmogorov-Smirnov, p = 0.001


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 7.3, 20.0])
@pytest.mark.parametrize("reverb", [False, True])
def test_the_ratio_is_exact(snr_db, reverb):
    speech, world = clean(), simple_world()
    heard = degrade(speech, Degradation(snr_db, reverb, None), stream(1), world, "u")
    speech_alone = degrade(speech, Degradation(None, reverb, None), stream(1), world, "u")
    assert abs(db(speech_alone, heard - speech_alone) - snr_db) < 1e-6
    assert len(heard) == len(speech)


def test_reverb_keeps_loudness_and_alignment():
    speech, world = clean(), simple_world(rooms=SyntheticRooms(direct_db=(10.0, 10.0)))
    wet = degrade(speech, Degradation(None, True, None), stream(2), world, "u")
    assert abs(db(speech, wet)) < 1e-9
    lags = np.correlate(wet, speech[800:-800], "valid")
    assert lags.argmax() == 800  # no delay
    assert not np.allclose(wet, speech, atol=1e-3)


@pytest.mark.parametrize("band_hz", [2000, 4000])
def test_nothing_is_left_above_the_band(band_hz):
    rng = np.random.RandomState(0)
    noise = rng.standard_normal(32000)
    spectrum, limited = power_spectrum(noise), power_spectrum(sim.limit_band(noise, band_hz))
    hertz = np.fft.rfftfreq(32000, 1 / 16000)
    above, below = hertz > 1.02 * band_hz, (hertz > 50) & (hertz < 0.88 * band_hz)
    assert 10 * np.log10(limited[above].sum() / spectrum[above].sum()) < -80
    assert abs(10 * np.log10(limited[below].sum() / spectrum[below].sum())) < 0.1


def test_band_limits_keep_length_and_alignment_and_8_khz_is_everything():
    for samples in (16000, 16001, 16007, 12345):
        speech = clean(seconds=samples / 16000)
        assert len(sim.limit_band(speech, 2000)) == samples
    limited = sim.limit_band(speech, 4000)
    assert np.correlate(limited, speech[500:-500], "valid").argmax() == 500
    assert sim.limit_band(speech, 8000) is speech


def test_the_band_limit_comes_last():
    heard = degrade(clean(), Degradation(0.0, True, 2000), stream(3), simple_world(), "u")
    power = power_spectrum(heard)
    above = np.fft.rfftfreq(len(heard), 1 / 16000) > 2100
    assert power[above].sum() / power.sum() < 1e-6  # the noise is limited, too


def test_prompts_are_within_limits_and_cut_where_their_frames_end():
    chances = Chances()
    for seed in range(SEEDS):
        rng = stream("length", seed)
        samples = int(rng.randint(20800, 320000))
        frames, start = draw_prompt(samples, chances, stream(seed))
        assert 25 <= frames <= 0.4 * features.frames(samples)
        assert features.frames(start) == frames
    lengths = [draw_prompt(160000, chances, stream(seed))[0] for seed in range(SEEDS)]
    assert min(lengths) == 25
    assert max(lengths) == int(0.4 * features.frames(160000))


def test_too_short_for_a_prompt():
    with pytest.raises(InputError, match=r"1\.00 s are too short"):
        draw_prompt(16000, Chances(), stream(0))


@pytest.mark.parametrize("task", ["tse", "vc"])
def test_the_prompt_is_clean_and_the_rest_is_not(task):
    speech = clean()
    result = sim.simulate(task, speech, stream(5), simple_world(), key="u0", speaker="s0")
    changed = np.flatnonzero(result.samples != speech)
    assert features.frames(int(changed[0])) in (result.prompt, result.prompt + 1)
    assert len(result.samples) == len(speech)
    assert len(changed) > 0.9 * (len(speech) - changed[0])


def test_se_changes_everything_and_gives_no_prompt():
    world = simple_world(chances=Chances(noise=1.0))
    result = sim.simulate("se", clean(), stream(7), world, key="u0", speaker=None)
    assert result.facts["snr_db"] is not None
    assert result.prompt is None
    assert (result.samples[:1000] != clean()[:1000]).mean() > 0.9


class Marked:
    """A speaker's speech is a tone of the speaker's own, so that what is in a mixture can be told."""

    HERTZ = {"s0": 500, "s1": 1000, "s2": 1500, None: 2000}

    def utterance(self, i, speaker):
        t = np.arange(24000) / 16000
        samples = (0.1 * np.sin(2 * np.pi * self.HERTZ[speaker] * t)).astype(np.float32)
        return Utterance(f"m{i}", lambda: replace(talk(0), samples=samples), speaker=speaker)

    def loudest(self, samples):
        power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
        at = np.fft.rfftfreq(len(samples), 1 / 16000)
        return {s: power[np.abs(at - hertz).argmin()] for s, hertz in self.HERTZ.items()}


def test_nobody_is_mixed_with_themselves_nor_with_the_unknown():
    marked = Marked()
    speakers = ["s0"] * 20 + ["s1", "s2", None, None, None]
    voices = Voices.of([marked.utterance(i, s) for i, s in enumerate(speakers)])
    target = at_16k(marked.utterance(0, "s0").load())
    seen = set()
    for seed in range(100):
        world = World(Chances(mixture_db=(0, 0)), voices=voices)
        result = sim.simulate("tse", target, stream(seed), world, key="m0", speaker="s0")
        tones = marked.loudest(result.samples[-8000:])
        seen |= {s for s, power in tones.items() if power > 0.5 * tones["s0"]}
    assert seen == {"s0", "s1", "s2"}


def test_mixtures_need_another_speaker():
    alone = Voices.of([Marked().utterance(i, "s0") for i in range(3)])
    for speaker, voices, message in (
        ("s0", alone, "another speaker"),
        (None, alone, "not known"),
        ("s0", None, "needs"),
    ):
        with pytest.raises(InputError, match=message):
            sim.simulate("tse", clean(), stream(0), World(voices=voices), key="x", speaker=speaker)


@pytest.mark.parametrize("limits", [(-5.0, 5.0), None])
def test_the_mixture_has_the_drawn_ratio(limits):
    speech = clean()
    world = simple_world(chances=Chances(mixture_db=limits))
    for seed in range(20):
        result = sim.simulate("tse", speech, stream(seed), world, key="u0", speaker="s0")
        added = result.samples - speech
        start = np.flatnonzero(added)[0]
        ratio = db(speech[start:], added[start:])
        if limits is None:
            assert result.facts["snr_db"] is None
        else:
            assert -5 <= result.facts["snr_db"] <= 5
            assert abs(ratio - result.facts["snr_db"]) < 0.1  # the interferer may begin with a zero


def test_full_scale_is_kept_by_scaling_not_by_clipping():
    loud = clean() / np.abs(clean()).max()
    guarded = sim.guard(3 * loud)
    assert np.abs(guarded).max() == pytest.approx(0.95)
    assert np.corrcoef(guarded, loud)[0, 1] == pytest.approx(1)
    assert sim.guard(loud) is loud


def test_silence_is_refused():
    with pytest.raises(InputError, match="silent"):
        sim.simulate("se", np.zeros(16000), stream(0), World(), key="x", speaker=None)


@pytest.mark.parametrize("task", ["se", "tse", "vc"])
def test_a_sample_depends_on_its_own_draws_only(task):
    """Whatever was simulated before, and in whatever order the data set is listed."""
    made = []
    for order in list(permutations(range(3)))[:3]:
        people = utterances()
        voices = Voices.of([people[i] for i in (5, 3, *order, 4)])
        world = World(noises=SyntheticNoise(voices), voices=voices, converter=lambda s, rng: s * rng.uniform(0.5, 1))
        results = {}
        for i in order:
            results[i] = sim.simulate(task, clean(i), stream(9, i), world, key=f"u{i}", speaker=f"s{i}").samples
        made.append(results)
    for i in range(3):
        assert np.array_equal(made[0][i], made[1][i])
        assert np.array_equal(made[0][i], made[2][i])
    assert not np.array_equal(
        made[0][0], sim.simulate(task, clean(0), stream(8, 0), world, key="u0", speaker="s0").samples
    )


def test_recorded_noise_and_rooms(tmp_path):
    sound = np.concatenate([np.zeros(4000), 0.1 * np.random.RandomState(0).standard_normal(12000)])
    (tmp_path / "n" / "deep").mkdir(parents=True)
    (tmp_path / "r").mkdir()
    soundfile.write(tmp_path / "n" / "deep" / "noise.wav", sound, 16000, subtype="FLOAT")
    response = np.zeros(1000)
    response[[100, 400]] = 0.5, -0.25
    soundfile.write(tmp_path / "r" / "room.flac", response, 16000)
    noises, rooms = RecordedNoise(tmp_path / "n"), RecordedRooms(tmp_path / "r")
    for seed in range(30):
        found = noises(3000, "x", stream(seed))
        assert len(found) == 3000
        assert np.any(found)
    assert len(noises(50000, "x", stream(0))) == 50000  # repeated
    room = rooms(stream(0))
    assert (room[0], len(room)) == (1.0, 900)
    assert room[300] == pytest.approx(-0.5, abs=1e-3)
    world = World(noises=noises, rooms=rooms)
    heard = degrade(clean(), Degradation(3.0, True, None), stream(4), world, "u")
    speech = degrade(clean(), Degradation(None, True, None), stream(4), world, "u")
    assert abs(db(speech, heard - speech) - 3) < 1e-6
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputError, match="no audio files"):
        RecordedNoise(tmp_path / "nothing")


def test_damaged_voices_are_passed_over():
    def broken():
        raise InputError("broken")

    good = utterances(1)[0]
    voices = Voices.of([Utterance(f"b{i}", broken, speaker="s9") for i in range(100)] + [good])
    assert np.array_equal(voices.other("s9", stream(0)), at_16k(good.load()))
    with pytest.raises(InputError, match="no utterance"):
        Voices.of([Utterance("b", broken, speaker="s9")]).any_but("x", stream(0))
    with pytest.raises(InputError, match="no utterance"):
        Voices.of([]).any_but("x", stream(0))


def test_babble_does_not_hold_the_utterance_itself():
    marked = Marked()
    voices = Voices.of([marked.utterance(0, "s0"), marked.utterance(1, "s1"), marked.utterance(2, "s2")])
    for seed in range(40):
        tones = marked.loudest(voices.any_but("m0", stream(seed)))
        assert tones["s0"] < 0.01 * max(tones.values())


def test_excerpts():
    sound = np.arange(10.0)
    starts = {excerpt(sound, 4, stream(seed))[0] for seed in range(100)}
    assert starts == set(range(7))
    longer = excerpt(sound, 25, stream(0))
    assert np.array_equal(np.diff(longer) % 10, np.ones(24))
