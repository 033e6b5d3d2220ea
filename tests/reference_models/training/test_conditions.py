"""Conditions as models meet them at inference, once for all or anew in every step."""

import numpy as np
import pytest
import torch

from reference_models import conditioning, features
from reference_models.checkpoints import open_source
from reference_models.errors import InputError
from reference_models.jobs import Job
from reference_models.parts import Parts
from reference_models.prepare import _condition
from reference_models.speech import Speech
from reference_models.training.conditions import FULL_SCALE, OnTheFly, heard, pcm, seen, speech_of, voices_of
from reference_models.training.shards import Example, Shards, ShardWriter
from reference_models.training.simulate import Chances, World, simulate
from reference_models.training.sounds import SyntheticNoise, Voices, at_16k
from tests.reference_models.training.speech import stream, talk, utterances


@pytest.fixture(scope="module")
def parts():
    return Parts(open_source("random-tiny"), "tse")


def negated(samples, rng):
    return -samples


def make_world():
    voices = Voices.of(utterances())
    return World(noises=SyntheticNoise(voices), voices=voices, converter=negated)


@pytest.mark.parametrize("task", ["tse", "vc", "se"])
def test_a_condition_is_what_inference_makes_of_the_same_sound(parts, task):
    """`prepare` hears the prompt and the source as two recordings of 16 kHz, and puts them together."""
    clean = at_16k(talk(0))
    made = heard(task, clean, parts.features, stream(1), make_world(), key="u0", speaker="s0")
    simulated = simulate(task, clean, stream(1), make_world(), key="u0", speaker="s0").samples.astype(np.float32)
    cut = 0
    while made.prompt is not None and features.frames(cut) < made.prompt:
        cut += 1
    prompt = None if made.prompt is None else Speech(simulated[:cut], 16000)
    job = Job(task, prompt=prompt, source=Speech(simulated[cut:], 16000))
    expected = _condition(job, parts, made.prompt or 0)
    assert made.features.dtype == np.float16
    assert len(made.features) == features.frames(len(clean))
    assert np.allclose(made.features, expected.numpy(), atol=2e-3, rtol=1e-3)


def test_the_prompt_is_heard_cleaner_than_the_rest(parts):
    clean = at_16k(talk(0, 4.0))
    made = heard("tse", clean, parts.features, stream(2), make_world(), key="u0", speaker="s0")
    with torch.inference_mode():
        plain = parts.features(torch.from_numpy(clean.astype(np.float32)))[0].numpy()
    distance = np.abs(made.features - plain).mean(1)
    assert distance[: made.prompt - 5].mean() < 0.8 * distance[made.prompt + 5 :].mean()


def test_lips_are_zero_under_the_prompt():
    visual = torch.randn(50, 6)
    prompts = []
    for seed in range(400):
        condition = seen(visual, 99, stream(seed), Chances())
        prompt = condition.prompt
        prompts.append(prompt)
        assert condition.features.shape == (99, 6)
        assert not condition.features[:prompt].any()
        job = conditioning.to_token_rate(visual[prompt // 2 :])[: 99 - prompt]
        assert np.allclose(condition.features[prompt:], job.numpy(), atol=2e-3)
    given = [p for p in prompts if p]
    assert abs(np.mean([p > 0 for p in prompts]) - 0.8 * 19 / 20) < 0.08  # a drawn length may be 0
    assert max(given) == 38  # 40 %, in whole pictures
    assert all(p % 2 == 0 for p in given)


def test_lips_of_another_length_are_refused():
    with pytest.raises(InputError, match=r"picture has 1\.60 s"):
        seen(torch.randn(40, 6), 99, stream(0), Chances())


def example(i=0, **facts):
    speech = talk(i)
    frames = features.frames(len(speech.samples))
    arrays = {"semantic": np.arange(frames), "audio": pcm(speech), "phones": np.arange(500)}
    return Example(f"u{i}", frames, arrays, {"speaker": f"s{i % 3}", **facts})


@pytest.mark.parametrize("task", ["tse", "vc", "se"])
def test_on_the_fly(parts, task):
    make = OnTheFly(task, parts.features, make_world())
    made = make(example(), 11)
    assert set(made.arrays) == {"semantic", "phones", "condition"}
    assert len(made.arrays["condition"]) == len(made.arrays["semantic"]) == made.frames == example().frames
    assert len(made.arrays["phones"]) == 500
    assert ("prompt" in made.facts) == (task != "se")
    assert made.facts["task"] == task
    make(example(1), 11)
    again = make(example(), 11)
    assert np.array_equal(made.arrays["condition"], again.arrays["condition"])
    assert made.facts == again.facts
    assert not np.array_equal(made.arrays["condition"], make(example(), 12).arrays["condition"])


def test_an_example_without_audio_is_refused(parts):
    with pytest.raises(InputError, match="no audio"):
        OnTheFly("se", parts.features, make_world())(Example("x", 3, {"semantic": np.arange(3)}), 0)


def test_audio_survives_storage():
    speech = Speech(talk(0, rate=24000).samples, 24000)
    audio = pcm(speech)
    assert audio.dtype == np.int16
    back = speech_of(Example("x", 1, {"audio": audio}))
    assert back.rate == 24000
    assert np.abs(back.samples - speech.samples).max() <= 0.5 / FULL_SCALE + 1e-9
    assert pcm(Speech(np.array([2.0, -2.0, 1.0], np.float32), 24000)).tolist() == [32767, -32768, 32767]


@pytest.mark.parametrize("samples", range(32076, 32084))
def test_frames_fit_whatever_the_length(parts, samples):
    """Stored at 24 kHz and heard at 16 kHz, an utterance may be a sample longer than when it was tokenised."""
    speech = Speech(talk(0, 3.0).samples[:samples], 16000)
    frames = features.frames(len(speech.at(16000)))
    stored = Example("x", frames, {"semantic": np.arange(frames), "audio": pcm(speech)}, {"speaker": "s0"})
    made = OnTheFly("se", parts.features, make_world())(stored, 0)
    assert made.frames == len(made.arrays["condition"]) == len(made.arrays["semantic"]) == frames


def test_voices_of_tokenised_speech(tmp_path):
    with ShardWriter(tmp_path) as writer:
        for i in range(4):
            writer.write(example(i))
    voices = voices_of(Shards([tmp_path]))
    for seed in range(20):
        other = voices.other("s0", stream(seed))
        assert min(np.abs(other - at_16k(speech_of(example(i)))).max() for i in (1, 2)) < 1e-9
