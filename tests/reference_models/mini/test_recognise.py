"""The mini recogniser: its search on made-up scores, its files, and that its training learns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from reference_models.errors import CheckpointError, InputError, MissingCheckpoint
from reference_models.features import frames
from reference_models.hub import SHIPPED
from reference_models.mini import hear
from reference_models.mini.alignment import PAUSE, PHONES
from reference_models.mini.espeak import EspeakEngine
from reference_models.mini.grammar import split_of
from reference_models.mini.listen import Listening
from reference_models.mini.recognise import (
    FILE,
    MiniRecogniser,
    PhoneNetwork,
    Search,
    WordLoop,
    open_recogniser,
    word_errors,
)
from reference_models.mini.voices import SPEAKERS, near, training_voices
from reference_models.sizes import MINI_FEATURES, config_path

P, T, K, OO, REST = (PHONES.index(p) for p in ("p", "t", "k", "uː", PAUSE))
WORDS = {"poo": ((P, OO),), "too": ((T, OO),), "toot": ((T, OO, T), (T, OO, K))}


def scores(*phones: int, right: float = 5.0) -> np.ndarray:
    out = np.zeros((len(phones), len(PHONES)))
    out[np.arange(len(phones)), phones] = right
    return out


@pytest.mark.parametrize(
    ("phones", "heard"),
    [
        ((P, OO), ["poo"]),
        ((P, P, OO, OO, OO), ["poo"]),
        ((P, OO, T, OO), ["poo", "too"]),
        ((REST, P, OO, REST, REST, T, OO, REST), ["poo", "too"]),
        ((T, OO, K, T, OO, K), ["toot", "toot"]),
        ((T, OO, K), ["toot"]),
        ((T, OO, T, OO), ["too", "too"]),
        ((REST, REST), []),
        ((T, OO, REST, T, OO, T), ["too", "toot"]),
        ((), []),
    ],
)
def test_the_best_way_through_the_words(phones: tuple[int, ...], heard: list[str]) -> None:
    assert WordLoop(Search(WORDS, 0.0, 0.5)).decode(scores(*phones)) == heard


def test_it_finds_what_trying_everything_finds() -> None:
    """Against a plain recursion over (frame, state), on noise."""
    loop = WordLoop(Search(WORDS, 0.0, 0.7))
    for seed in range(30):
        given = np.random.default_rng(seed).standard_normal((9, len(PHONES))) * 2
        assert loop.decode(given) == _everything(given, 0.7)[1]


def _everything(given: np.ndarray, cost: float) -> tuple[float, list[str]]:
    spoken = [(word, way) for word, ways in sorted(WORDS.items()) for way in ways]
    # (state) -> (score, words): state None is between words, else (pronunciation, phone)
    beam: dict[object, tuple[float, list[str]]] = {None: (0.0, [])}
    for frame in given:
        new: dict[object, tuple[float, list[str]]] = {}

        def put(state: object, score: float, words: list[str], new: dict = new) -> None:
            if state not in new or score > new[state][0]:
                new[state] = (score, words)

        for state, (score, words) in beam.items():
            if state is not None:
                n, i = state  # type: ignore[misc]
                way = spoken[n][1]
                put((n, i), score + frame[way[i]], words)
                if i + 1 < len(way):
                    put((n, i + 1), score + frame[way[i + 1]], words)
            if state is None or state[1] + 1 == len(spoken[state[0]][1]):  # type: ignore[index]
                put(None, score + frame[REST], words)
                for n, (word, way) in enumerate(spoken):
                    put((n, 0), score - cost + frame[way[0]], [*words, word])
        beam = new
    ended = [v for s, v in beam.items() if s is None or s[1] + 1 == len(spoken[s[0]][1])]  # type: ignore[index]
    return max(ended, key=lambda v: v[0])


def test_nothing_is_heard_in_nothing() -> None:
    recogniser = MiniRecogniser(PhoneNetwork(), Search(WORDS, 0.0, 0.0))
    for length in (0, 16_000, 30 * 16_000):
        assert recogniser.transcribe(np.zeros(length, np.float32)) == ""
    assert recogniser.transcribe(np.ones(10, np.float32)) == ""
    noise = np.random.default_rng(0).standard_normal(900).astype(np.float32)
    assert set(recogniser.transcribe(noise).split()) <= set(WORDS)


def test_any_length_and_any_number_of_threads() -> None:
    recogniser = MiniRecogniser(hear.new_network(), Search(WORDS, 0.0, 0.0))
    noise = np.random.default_rng(1).standard_normal(30 * 16_000).astype(np.float32)
    assert all(isinstance(recogniser.transcribe(noise[:length]), str) for length in (799, 800, 801, 1119, 1120))
    before, heard = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            heard.append(recogniser.transcribe(noise))
    finally:
        torch.set_num_threads(before)
    assert heard[0] and len(set(heard)) == 1


def test_files_and_damaged_ones(tmp_path: Path) -> None:
    with pytest.raises(MissingCheckpoint, match="recogniser"):
        open_recogniser(tmp_path)
    made = MiniRecogniser(hear.new_network(), Search(WORDS, 0.3, 2.0))
    hear.export(made, tmp_path, {})
    read = open_recogniser(tmp_path)
    assert read.search == made.search
    noise = np.random.default_rng(0).standard_normal(16_000).astype(np.float32) * 0.1
    assert np.array_equal(read.network.posteriors(noise), made.network.posteriors(noise))
    path = config_path(tmp_path / FILE)
    good = json.loads(path.read_text())
    words = ({}, {"a": [[999]]}, {"a": [[]]}, {"a": [[0]]})
    for bad in (
        {**good, "phones": ["a"]},
        {**good, "prior": float("nan")},
        [],
        {},
        *({**good, "words": w} for w in words),
    ):
        path.write_text(json.dumps(bad))
        with pytest.raises(CheckpointError):
            open_recogniser(tmp_path)
    path.write_text(json.dumps(good))
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        open_recogniser(tmp_path)


def test_it_learns() -> None:
    """Of tones, one a phone, in a dozen steps."""
    rng = np.random.default_rng(0)
    utterances = []
    for _ in range(12):
        labels = np.repeat(rng.integers(1, 4, 8), 5)
        tone = np.sin(2 * np.pi * np.cumsum(np.repeat(300.0 * labels, 320)) / 16_000)
        utterances.append(hear.Heard((tone * 0.1).astype(np.float32), labels[: frames(len(tone))]))
    objective, batches = hear.HearObjective(hear.new_network()), hear.hearing(utterances, rows=4, seed=0)
    optimiser = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    losses = []
    for step in range(12):
        loss = objective(batches(step))
        mean = loss.total / loss.count
        optimiser.zero_grad()
        mean.backward()
        optimiser.step()
        losses.append(float(mean.detach()))
    assert losses[-1] < 0.6 * losses[0]
    hear.set_prior(objective.network, utterances)
    assert float(objective.network.log_prior.exp().sum()) == pytest.approx(1.0, abs=1e-4)


def test_its_voices_and_sentences_are_nobody_elses() -> None:
    pytest.importorskip("espeakng_loader")
    from reference_models.mini.corpus import VOICES, Recordings

    ours = training_voices(VOICES, "recogniser")
    assert not any(near(voice, evaluated) for voice in ours for evaluated in SPEAKERS)
    assert not {(s.voice, s.warp) for s in ours} & {(s.voice, s.warp) for s in training_voices(VOICES)}
    with EspeakEngine() as engine:
        made = Recordings(engine, "recogniser")
        texts = [made.text(n) for n in range(2 * VOICES, 2 * VOICES + 50)]  # two sentences each
        assert {split_of(one.strip() + ".") for text in texts for one in text.split(".") if one} == {"recogniser"}
        words = hear.lexicon(made, 60)
        alone = {word: hear.spoken(engine, word) for word in words}
    assert {w for text in texts for w in hear.plain(text).split()} <= set(words)
    assert all(alone[word] in ways for word, ways in words.items())
    assert len(words["the"]) == 2  # before "office"


def test_its_crops_are_drawn_for_itself() -> None:
    """The same seed gives it other crops, and so other noise, than what the feature extractor is trained on."""
    made = np.random.default_rng(0).standard_normal((40, 8000)).astype(np.float32)
    utterances = [hear.Heard(samples, np.full(frames(8000), i)) for i, samples in enumerate(made)]
    drawn = [hear.hearing(utterances, rows=32, seed=0), Listening(utterances, 32, 0, MINI_FEATURES)]
    ours, theirs = (batches(0).labels[:, 0].tolist() for batches in drawn)
    assert ours != theirs
    assert ours == hear.hearing(utterances, rows=32, seed=0)(0).labels[:, 0].tolist()


def test_a_sentence_divided_into_words() -> None:
    alone = [(1, 2), (3, 4), (5,)]
    assert hear.divided((1, 2, 3, 4, 5), alone) == ((1, 2), (3, 4), (5,))
    assert hear.divided((1, 7, 8, 3, 4, 5), alone) == ((1, 7, 8), (3, 4), (5,))  # not a part of the second word
    assert hear.divided((1, 2, 4, 5), alone) == ((1, 2), (4,), (5,))
    with pytest.raises(InputError, match="unlike"):
        hear.divided((1,), alone)


def test_the_search_is_chosen_by_what_it_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a network that hears "poo too", but stutters a little: a word costs more than that, and less than the "t"."""
    stuttered = scores(P, OO, P, OO, OO, T, OO, OO).astype(np.float32)
    stuttered[5, T] = 30
    network = hear.new_network()
    monkeypatch.setattr(network, "posteriors", lambda _: stuttered)
    found = hear.tuned(network, WORDS, [(np.ones(16_000, np.float32), "Poo too.")])
    assert found.read(stuttered) == "poo too"
    assert MiniRecogniser(network, Search(WORDS, 0.0, 0.0)).read(stuttered) == "poo poo too"


def test_disturbances_are_what_they_say() -> None:
    noise = np.random.default_rng(0).standard_normal(16_000)
    power = np.abs(np.fft.rfft(hear.dull(noise, 3000))) ** 2
    assert power[3001:].sum() < 1e-12 * power.sum()
    same = hear.blurred(noise, 0.0, np.random.RandomState(0))
    other = hear.blurred(noise, 1.0, np.random.RandomState(0))
    assert np.allclose(same, noise, atol=1e-8) and not np.allclose(other, noise, atol=0.1)
    wanted = np.mean(noise.astype(np.float32) ** 2) / 10
    added = hear.noisy(noise.astype(np.float32), 10, 0) - noise
    assert np.mean(added**2) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize(
    ("said", "heard", "errors"), [("a b c", "a b c", 0), ("a b c", "a c", 1), ("a", "b a", 1), ("", "x y", 2)]
)
def test_word_errors(said: str, heard: str, errors: int) -> None:
    assert word_errors(said, heard) == errors


def test_the_shipped_one_hears_the_corpus() -> None:
    """Talkers and sentences of evaluations, none of which it was trained on."""
    pytest.importorskip("espeakng_loader")
    from reference_models.mini.grammar import sentence
    from reference_models.mini.voices import say

    recogniser, wrong, words = open_recogniser(SHIPPED), 0, 0
    with EspeakEngine() as engine:
        for i in range(24):
            text = sentence(0, "tts", "target", i)
            samples = say(engine, SPEAKERS[i % 12], text, 16_000).astype(np.float32)
            said = hear.plain(text)
            wrong, words = wrong + word_errors(said, recogniser.transcribe(samples)), words + len(said.split())
    assert wrong / words <= 0.03
