"""Data sets to shards: the tokens that inference makes, resumable, whatever breaks."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch

from reference_models import features
from reference_models.checkpoints import open_source
from reference_models.errors import InputError
from reference_models.loading import fingerprint
from reference_models.parts import Parts
from reference_models.prepare import _prompt
from reference_models.speech import Speech
from reference_models.text.espeak import available
from reference_models.text.frontend import phonemize
from reference_models.training.shards import Shards
from reference_models.training.simulate import World
from reference_models.training.sounds import SyntheticNoise, Voices
from reference_models.training.sources import Utterance
from reference_models.training.tokenize import FAILURES, tokenize, tokenize_sources
from tests.reference_models.training.speech import talk, utterances


@pytest.fixture(scope="module")
def source():
    return open_source("random-tiny")


@pytest.fixture(scope="module")
def parts(source):
    return Parts(source, "base")


def read(folder):
    return {example.key: example for example in Shards([folder])}


def same(one, two):
    return (one.frames, one.facts) == (two.frames, two.facts) and all(
        np.array_equal(one.arrays[name], two.arrays[name]) for name in one.arrays | two.arrays
    )


def quiet(voices):
    return World(noises=SyntheticNoise(voices), voices=voices, converter=lambda samples, _rng: samples[::-1].copy())


def test_tokens_are_those_of_a_prompt_at_inference(tmp_path, source, parts):
    people = utterances(3, rate=22050, seconds=1.3)
    report = tokenize(people, tmp_path, source, audio=True)
    assert (report.total, report.examples, report.skipped, report.failures) == (3, 3, 0, [])
    assert report.seconds == pytest.approx(3 * 1.3, abs=0.01)
    found = read(tmp_path)
    for utterance in people:
        example = found[utterance.key]
        with torch.inference_mode():
            semantic, codes = _prompt(utterance.load(), parts, official=False)
        assert example.arrays["semantic"].tolist() == semantic.tolist()
        assert example.arrays["codes"].tolist() == codes.tolist()
        assert example.frames == len(semantic) == features.frames(len(utterance.load().at(16000)))
        assert len(example.arrays["audio"]) == len(utterance.load().at(24000))
        assert "phones" not in example.arrays  # no text
        assert example.facts["speaker"] == utterance.speaker
        assert "prompt" not in example.facts


@pytest.mark.skipif(not available(), reason="needs an eSpeak NG library")
def test_phones(tmp_path, source):
    people = [replace(u, text=t) for u, t in zip(utterances(3), ("Hello there.", None, "!?"), strict=True)]
    report = tokenize(people, tmp_path / "pre", source, want=["semantic", "phones"])
    found = read(tmp_path / "pre")
    assert set(found) == {"u0", "u1"}
    assert found["u0"].arrays["phones"].tolist() == list(phonemize("Hello there.", "en").ids)
    assert set(found["u1"].arrays) == {"semantic"}
    assert [f.key for f in report.failures] == ["u2"]
    assert "nothing to say" in report.failures[0].reason


@pytest.mark.skipif(not available(), reason="needs an eSpeak NG library")
def test_a_prompt_is_another_utterance_of_the_speaker(tmp_path, source):
    """What zero-shot TTS continues: the tokens and phones of the prompt, then those of the target."""
    people = [
        replace(u, text=t) for u, t in zip(utterances(5, 2), ("One.", "Two.", "Three.", None, "Five."), strict=True)
    ]
    want = ["semantic", "phones"]
    tokenize(people, tmp_path / "alone", source, want=want)
    failures = tokenize(people, tmp_path / "tts", source, task="tts", want=want).failures
    assert [(f.key, f.reason) for f in failures] == [
        ("u1", "its speaker says nothing else that could be the prompt"),
        ("u3", "it has no text"),
    ]
    alone, found = read(tmp_path / "alone"), read(tmp_path / "tts")
    assert set(found) == {"u0", "u2", "u4"}
    for key, example in found.items():
        said = example.facts["text"].split()
        before = next(u.key for u in people if u.text == said[0])
        assert before != key and said[1] == next(u.text for u in people if u.key == key)
        assert example.facts["prompt"] == alone[before].frames
        assert example.frames == alone[before].frames + alone[key].frames
        for name in want:
            joined = np.concatenate([alone[before].arrays[name], alone[key].arrays[name]])
            assert example.arrays[name].tolist() == joined.tolist()


def test_what_cannot_be_used_is_counted_with_its_reason(tmp_path, source):
    def broken():
        raise InputError("a.flac: cannot be decoded")

    people = [
        *utterances(2),
        Utterance("bad", broken),
        Utterance("long", lambda: talk(0, 3.0)),
        Utterance("short", lambda: talk(0, 0.2)),
        Utterance("silent", lambda: Speech(np.zeros(16000, np.float32), 16000)),
    ]
    seen = []
    report = tokenize(
        people, tmp_path, source, want=["semantic"], seconds=(0.5, 2.5), progress=lambda r: seen.append(len(r.failures))
    )
    reasons = {f.key: f.reason for f in report.failures}
    assert set(reasons) == {"bad", "long", "short", "silent"}
    assert reasons["bad"] == "a.flac: cannot be decoded"
    assert "3.00 s" in reasons["long"]
    assert reasons["silent"] == "it is silent"
    assert report.examples == 2
    assert len(seen) == 6
    written = [json.loads(line) for line in (tmp_path / FAILURES).read_text().splitlines()]
    assert {line["key"]: line["reason"] for line in written} == reasons
    with pytest.raises(InputError, match="none of 1 utterances"):
        tokenize([people[2]], tmp_path / "none", source, want=["semantic"])


class Killed(Exception):
    pass


@pytest.mark.parametrize("copies", [1, 2])
def test_a_run_that_was_cut_short_goes_on(tmp_path, source, copies):
    def run(folder, stop=None):
        def progress(report):
            if report.examples + report.skipped == stop:
                raise Killed

        people = utterances(5)
        world = quiet(Voices.of(people))
        return tokenize(
            people,
            folder,
            source,
            want=["semantic"],
            task="tse",
            copies=copies,
            world=world,
            per_shard=3,
            progress=progress,
        )

    run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "cut", stop=4)
    there = len(read(tmp_path / "cut"))
    assert 3 <= there < 5 * copies
    report = run(tmp_path / "cut")
    assert report.examples == 5 * copies - there
    assert run(tmp_path / "cut").skipped == 5
    whole, cut = read(tmp_path / "whole"), read(tmp_path / "cut")
    assert len(whole) == 5 * copies
    assert whole.keys() == cut.keys()
    assert all(same(whole[key], cut[key]) for key in whole)


def test_copies_differ_and_follow_from_the_seed(tmp_path, source):
    people = utterances(4)

    def make(name, seed, listed=people):
        tokenize(
            listed,
            tmp_path / name,
            source,
            want=["semantic"],
            task="se",
            copies=2,
            seed=seed,
            world=quiet(Voices.of(people)),
        )
        return read(tmp_path / name)

    first = make("first", 1)
    assert sorted(first) == sorted(f"u{i}-{copy}" for i in range(4) for copy in range(2))
    assert np.array_equal(first["u0-0"].arrays["semantic"], first["u0-1"].arrays["semantic"])
    assert not np.array_equal(first["u0-0"].arrays["condition"], first["u0-1"].arrays["condition"])
    backwards = make("backwards", 1, people[::-1])
    assert all(same(first[key], backwards[key]) for key in first)
    other = make("other", 2)
    assert not np.array_equal(first["u0-0"].arrays["condition"], other["u0-0"].arrays["condition"])


@pytest.mark.parametrize("task", ["vc", "tse", "se"])
def test_conditions_have_the_length_of_the_tokens(tmp_path, source, task):
    people = [replace(u, load=lambda i=i: talk(i, 1.5 + 0.0137 * i, 24000)) for i, u in enumerate(utterances(5))]
    tokenize(people, tmp_path, source, task=task, world=quiet(Voices.of(people)))
    found = read(tmp_path)
    assert len(found) == 5
    for example in found.values():
        assert example.arrays["condition"].shape[0] == example.frames == len(example.arrays["semantic"])
        assert len(example.arrays["codes"]) == example.frames
        assert example.arrays["condition"].dtype == np.float16
        assert np.isfinite(example.arrays["condition"]).all()
        assert example.facts["task"] == task
        if task != "se":
            assert 25 <= example.facts["prompt"] <= 0.4 * example.frames


def test_an_interferer_must_be_somebody_else(tmp_path, source):
    alone = utterances(3, speakers=1)
    with pytest.raises(InputError, match="another speaker"):
        tokenize(alone, tmp_path, source, task="tse", want=["semantic"])


def test_lips(tmp_path, source):
    people = utterances(3)
    mouths = np.random.RandomState(0).randint(0, 255, (50, 96, 96)).astype(np.uint8)
    filmed = [replace(people[0], video=lambda: mouths), replace(people[1], video=lambda: mouths[:30]), people[2]]
    report = tokenize(filmed, tmp_path, source, task="l2s", copies=3, want=["semantic"])
    assert {f.key: f.reason[:12] for f in report.failures} == {"u1": "its picture ", "u2": "it has no vi"}
    found = read(tmp_path)
    assert sorted(found) == ["u0-0", "u0-1", "u0-2"]
    for example in found.values():
        prompt = example.facts["prompt"]
        assert len(example.arrays["condition"]) == example.frames == len(example.arrays["semantic"])
        assert not example.arrays["condition"][:prompt].any()
        assert example.arrays["condition"][prompt:].any(1).all()


def test_a_folder_keeps_to_what_it_was_made_with(tmp_path, source):
    people = utterances(2)
    tokenize(people, tmp_path, source, want=["semantic"])
    with pytest.raises(InputError, match="another seed"):
        tokenize(people, tmp_path, source, want=["semantic"], seed=5)
    with pytest.raises(InputError, match="another models"):
        tokenize(people, tmp_path, open_source("random-tiny", seed=3), want=["semantic"])
    assert tokenize(utterances(3), tmp_path, source, want=["semantic"]).skipped == 2  # more of the same is welcome


def test_parts_make_the_same_as_one_run(tmp_path, source):
    people = utterances(5)
    settings = {"want": ["semantic"], "task": "tse"}
    tokenize(people, tmp_path / "one", source, **settings)
    for n in range(2):
        tokenize(people, tmp_path / "many", source, part=(n, 2), **settings)
    whole = read(tmp_path / "one")
    split = {e.key: e for e in Shards(sorted((tmp_path / "many").iterdir()))}
    assert whole.keys() == split.keys()
    assert all(same(whole[key], split[key]) for key in whole)
    with pytest.raises(InputError, match="part 2 of 2"):
        tokenize(people, tmp_path / "many", source, part=(2, 2))


def test_from_names_and_paths(tmp_path, source):
    for i in range(3):
        path = tmp_path / "data" / f"s{i}" / f"{i}.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, talk(i).samples, 16000, subtype="FLOAT")
    spec, settings = f"folder:{tmp_path / 'data'}", {"want": ["semantic"], "task": "vc", "converter": "resampled"}
    report = tokenize_sources([spec], tmp_path / "out", "random-tiny", **settings)
    assert report.examples == 3
    example = next(iter(Shards([tmp_path / "out"])))
    with torch.inference_mode():
        plain = Parts(source, "base").features(talk(0).at(16000))[0].numpy()
    assert example.facts["speaker"] == "s0"
    assert np.abs(example.arrays["condition"] - plain).max() > 0.1


def test_fingerprints_tell_weights_apart():
    one, two = torch.nn.Linear(3, 4), torch.nn.Linear(3, 4)
    assert fingerprint(one.state_dict()) != fingerprint(two.state_dict())
    two.load_state_dict(one.state_dict())
    assert fingerprint(one.state_dict()) == fingerprint(two.state_dict())
    with torch.no_grad():
        two.bias[3] += 1e-6
    assert fingerprint(one.state_dict()) != fingerprint(two.state_dict())
