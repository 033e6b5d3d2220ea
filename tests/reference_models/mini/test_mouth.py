"""The drawn mouth: what it shows, and that it follows from its arguments."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from reference_models.errors import InputError
from reference_models.lips import FPS as LIPS_FPS
from reference_models.lips.mouth import CROP
from reference_models.mini import mouth
from reference_models.mini.alignment import PHONES, Phone
from reference_models.mini.espeak import EspeakEngine
from reference_models.mini.grammar import training_sentence
from reference_models.mini.mouth import FPS, SIDE, look, render, trajectory
from reference_models.mini.voices import SPEAKERS, say_aligned

OPENING, WIDTH, ROUNDING, TEETH, TONGUE, TUCK = range(6)


def held(symbol: str, seconds: float = 0.4) -> list[Phone]:
    """One sound between two pauses."""
    return [Phone("", 0, 0.4), Phone(symbol, 0.4, 0.4 + seconds), Phone("", 0.4 + seconds, 0.8 + seconds)]


def shape_of(symbol: str) -> np.ndarray:
    """(6,) in its middle."""
    return trajectory(held(symbol), 30)[15]


@pytest.fixture(scope="module")
def engine() -> Iterator[EspeakEngine]:
    pytest.importorskip("espeakng_loader")
    with EspeakEngine() as engine:
        yield engine


def test_it_is_what_the_front_end_of_lip_to_speech_takes() -> None:
    assert FPS == LIPS_FPS and SIDE == CROP
    frames = render(held("ɑː"), 1.2, "f5", "a text")
    assert frames.shape == (30, 96, 96) and frames.dtype == np.uint8
    assert len(render([], 0.001, 0)) == 1


def test_every_phone_has_a_shape_and_others_are_refused() -> None:
    for symbol in PHONES:
        assert np.isfinite(shape_of(symbol)).all()
    with pytest.raises(InputError, match="'ç'"):
        render([Phone("ç", 0, 1)], 1, 0)


def test_shapes_are_those_of_the_sounds() -> None:
    for closed in "pbm":
        assert shape_of(closed)[OPENING] < 0 < shape_of("")[OPENING] < shape_of("t")[OPENING]
    assert shape_of("ˈɑː")[OPENING] > shape_of("ɛ")[OPENING] > shape_of("iː")[OPENING]
    assert shape_of("iː")[WIDTH] > shape_of("ə")[WIDTH] > shape_of("uː")[WIDTH]
    assert min(shape_of(s)[ROUNDING] for s in ("uː", "w", "ɔː", "ʃ")) > 0.5 > shape_of("æ")[ROUNDING]
    assert shape_of("f")[TUCK] > 0.8 and shape_of("s")[TUCK] < 0.05 and shape_of("s")[TEETH] > 0.8
    assert shape_of("θ")[TONGUE] > 0.8


@pytest.mark.parametrize("same", ["pbm", "fv", "θð", "td", "sz", "kɡ"])
def test_what_lips_do_not_tell_apart_looks_alike(same: str) -> None:
    """Voice and nose are not to be seen: a model must not read them off a constant."""
    first, *others = (render(held(symbol), 1.2, 3, "take") for symbol in same)
    assert all(np.array_equal(first, other) for other in others)
    assert not np.array_equal(first, render(held("ɑː"), 1.2, 3, "take"))


def test_a_diphthong_moves_and_a_vowel_stays() -> None:
    moving, still = (trajectory(held(symbol, 1.0), 45) for symbol in ("aɪ", "a"))
    assert moving[14, OPENING] - moving[30, OPENING] > 0.3
    assert abs(still[14, OPENING] - still[30, OPENING]) < 0.05


def test_neighbours_show_in_a_weak_consonant_and_not_in_a_strong_one() -> None:
    """Coarticulation: k takes the rounding around it, b closes whatever is around it."""

    def between(consonant: str, vowel: str) -> np.ndarray:
        phones = [Phone(vowel, 0, 0.2), Phone(consonant, 0.2, 0.28), Phone(vowel, 0.28, 0.48)]
        return trajectory(phones, 12)[5:7].min(0)

    assert between("k", "uː")[ROUNDING] - between("k", "iː")[ROUNDING] > 0.3
    assert between("b", "ɑː")[OPENING] < 0.05


def test_it_moves_smoothly(engine: EspeakEngine) -> None:
    _, phones = say_aligned(engine, SPEAKERS[0], training_sentence(3), 16_000)
    steps = np.abs(np.diff(trajectory(phones, round(phones[-1].end * FPS)), axis=0))
    assert steps.mean() > 0.02 and steps.max() < 1.0


def test_pixels_show_the_shapes() -> None:
    """Darkness where the mouth is open, brightness where teeth are, over the faces' own greys."""
    for face in range(4):
        features = look(face)
        shown = {s: render(held(s), 1.2, face)[13:18].astype(float).mean(0) for s in ("ɑː", "b", "s", "w", "iː")}
        middle = {s: x[40:70, 44:52] for s, x in shown.items()}
        dark = features.inside + 25
        assert (middle["ɑː"] < dark).mean() > 0.15 and (middle["b"] < dark).mean() < 0.05
        assert middle["s"].max() > features.lip + 30
        lips = {s: np.abs(x[44:54] - np.median(x[:20])).mean(0) > 15 for s, x in shown.items()}
        assert lips["iː"].sum() > lips["w"].sum() + 8


def test_it_follows_from_its_arguments_and_from_all_of_them() -> None:
    first = render(held("æ"), 1.2, "f5", "text")
    np.random.seed(1)
    assert np.array_equal(first, render(held("æ"), 1.2, "f5", "text"))
    face, take = render(held("æ"), 1.2, "m1", "text"), render(held("æ"), 1.2, "f5", "other")
    assert not np.array_equal(first, face) and not np.array_equal(first, take)
    assert np.abs(first.mean((0, 1, 2)) - take.mean((0, 1, 2))) < 2  # the same face
    assert len({look(face) for face in range(50)}) == 50


def test_the_head_sways_a_little() -> None:
    frames = render([Phone("", 0, 4)], 4, 1).astype(float)
    dark = 255 - frames[:, 38:60]
    places = (dark * np.arange(96)).sum((1, 2)) / dark.sum((1, 2))
    sway = mouth._sway(200, np.random.RandomState(0))
    assert 0.01 < places.std() < 2.0
    assert 0.3 < sway[:, :2].std() < 2.0 and np.abs(np.diff(sway, axis=0)).max() < 0.8
