"""A drawn mouth that says what an alignment says: grey mouth regions, as lip-to-speech's front end cuts them.

Every phone has a shape of the lips; shapes blend into one another as their dominance rises and falls (Cohen and
Massaro, "Modeling coarticulation in synthetic visual speech", 1993). Phones that lips do not tell apart (p, b and m;
t, d and n; s and z; k and g) have one shape here, too. What it cannot show: real faces, light, turning heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference_models.errors import InputError
from reference_models.mini.acoustics import generator
from reference_models.mini.alignment import PAUSE, Phone
from reference_models.seeds import derive_seed

F64 = NDArray[np.float64]
FPS = 25  # of lips.video
SIDE = 96  # pixels: lips.mouth.CROP
LEVELS = 256  # of grey


@dataclass(frozen=True)
class Shape:
    """Of the lips, each 0..1. opening < 0: pressed together; tuck: the lower lip under the upper teeth.

    strength: how much of it stays between other sounds (its dominance).
    """

    opening: float
    width: float
    rounding: float = 0.0
    teeth: float = 0.0
    tongue: float = 0.0
    tuck: float = 0.0
    strength: float = 1.0


_CLOSED = Shape(-0.2, 0.45, 0.1, strength=5.0)
_TUCKED = Shape(0.18, 0.55, 0.0, 0.9, 0.0, 1.0, strength=3.0)
_DENTAL = Shape(0.22, 0.5, 0.0, 0.5, 1.0, strength=1.5)
_ALVEOLAR = Shape(0.25, 0.55, 0.0, 0.6, 0.5, strength=0.6)
_HISSED = Shape(0.16, 0.65, 0.0, 1.0, strength=1.0)
_HUSHED = Shape(0.2, 0.3, 0.7, 0.9, strength=1.5)
_VELAR = Shape(0.3, 0.5, 0.05, 0.3, 0.2, strength=0.4)
_LATERAL = Shape(0.3, 0.5, 0.0, 0.3, 0.8, strength=0.7)

SHAPES: dict[str, Shape] = {
    PAUSE: Shape(0.02, 0.5, 0.1),
    **dict.fromkeys("pbm", _CLOSED),
    **dict.fromkeys("fv", _TUCKED),
    **dict.fromkeys("θð", _DENTAL),
    **dict.fromkeys("tdnɾ", _ALVEOLAR),
    **dict.fromkeys("sz", _HISSED),
    **dict.fromkeys(("ʃ", "tʃ", "dʒ"), _HUSHED),
    **dict.fromkeys("kɡŋ", _VELAR),
    **dict.fromkeys(("l", "əl"), _LATERAL),
    "h": Shape(0.35, 0.5, strength=0.2),
    "ɹ": Shape(0.2, 0.3, 0.6, 0.3, 0.1),
    "w": Shape(0.06, 0.05, 1.0, strength=2.5),
    "j": Shape(0.2, 0.75, 0.0, 0.6, 0.3),
    "iː": Shape(0.25, 0.9, 0.0, 0.7, 0.2),
    "i": Shape(0.25, 0.8, 0.0, 0.6, 0.2),
    "ɪ": Shape(0.35, 0.7, 0.0, 0.5, 0.2),
    "ᵻ": Shape(0.28, 0.6, 0.0, 0.4, 0.2),
    "ɛ": Shape(0.5, 0.7, 0.0, 0.5, 0.3),
    "æ": Shape(0.75, 0.75, 0.0, 0.5, 0.4),
    "a": Shape(0.85, 0.6, 0.0, 0.4, 0.3),
    "ə": Shape(0.35, 0.5, 0.1, 0.3, 0.2, strength=0.7),
    "ʌ": Shape(0.6, 0.5, 0.1, 0.3, 0.3),
    "ɚ": Shape(0.3, 0.35, 0.5, 0.3, 0.1),
    "ɜː": Shape(0.35, 0.35, 0.5, 0.3, 0.1),
    "ɑː": Shape(0.9, 0.45, 0.15, 0.3, 0.2),
    "ɔ": Shape(0.65, 0.3, 0.5, 0.1, 0.1),
    "ɔː": Shape(0.6, 0.2, 0.75, 0.1),
    "ʊ": Shape(0.3, 0.25, 0.7, 0.1),
    "uː": Shape(0.15, 0.1, 0.95, strength=1.5),
}
_MOVES = {  # from one shape to another
    "eɪ": ("ɛ", "ɪ"),
    "aɪ": ("a", "ɪ"),
    "aʊ": ("a", "ʊ"),
    "oʊ": ("ɔ", "uː"),
    "ɪɹ": ("ɪ", "ɹ"),
    "ɛɹ": ("ɛ", "ɹ"),
    "ɑːɹ": ("ɑː", "ɹ"),
    "ɔːɹ": ("ɔː", "ɹ"),
}


@dataclass(frozen=True)
class Look:
    """How a face looks. Lengths in pixels, greys 0..255. effort: how far its lips move."""

    width: float
    height: float
    upper: float
    lower: float
    effort: float
    skin: float
    lip: float
    inside: float
    noise: float


def look(face: str | int) -> Look:
    """A face that follows from its name or number."""
    draw = generator(derive_seed("mini-look", face)).uniform
    skin = draw(110, 205)
    return Look(
        width=draw(24, 30),
        height=draw(26, 34),
        upper=draw(4.5, 7.5),
        lower=draw(6, 9.5),
        effort=draw(0.85, 1.15),
        skin=skin,
        lip=skin * draw(0.55, 0.8),
        inside=draw(15, 45),
        noise=draw(1.0, 5.0),
    )


def render(phones: Sequence[Phone], seconds: float, face: str | int, take: str | int = 0) -> NDArray[np.uint8]:
    """The mouth that says `phones`, (T, 96, 96) at 25 frames a second, T = `seconds` rounded to frames, at least one.

    face: who it is, such as a speaker's name; take: what is said, for another noise and sway of the same face.
    Raises InputError for a phone without a shape.
    """
    features = look(face)
    rng = generator(derive_seed("mini-take", face, take))
    shapes = trajectory(phones, max(1, round(seconds * FPS)))  # (T, 6)
    frames = _draw(features, shapes, _sway(len(shapes), rng), _texture(face))
    frames += features.noise * rng.standard_normal(frames.shape)
    return np.clip(np.rint(frames), 0, LEVELS - 1).astype(np.uint8)


def trajectory(phones: Sequence[Phone], frames: int) -> F64:
    """(frames, 6): opening, width, rounding, teeth, tongue and tuck in the middle of each frame."""
    keys = [key for phone in phones for key in _keys(phone)]
    if not keys:
        return np.tile(_values(SHAPES[PAUSE]), (frames, 1))
    times, spreads = (np.array(column) for column in zip(*[(t, s) for t, s, _ in keys], strict=True))
    targets = np.array([_values(shape) for _, _, shape in keys])  # (K, 6)
    strengths = np.log([shape.strength for _, _, shape in keys])
    middles = (np.arange(frames)[:, None] + 0.5) / FPS
    dominance = strengths - 0.5 * ((middles - times) / spreads) ** 2  # (frames, K), its logarithm
    shares = np.exp(dominance - dominance.max(1, keepdims=True))
    return np.asarray(shares @ targets / shares.sum(1, keepdims=True))


def _keys(phone: Phone) -> list[tuple[float, float, Shape]]:
    """(time, spread in time, shape) of one phone: its middle, or two moments where it moves or lasts."""
    length = phone.end - phone.start
    names = _MOVES.get(phone.plain, (phone.plain, phone.plain))
    unknown = [name for name in names if name not in SHAPES]
    if unknown:
        raise InputError(f"no shape of the lips is known for '{phone.symbol}'", fix="use phones of the mini corpus")
    return [
        (phone.start + at * length, 0.2 * length + 0.01, SHAPES[name])
        for at, name in zip((0.3, 0.7), names, strict=True)
    ]


def _values(shape: Shape) -> F64:
    return np.array([shape.opening, shape.width, shape.rounding, shape.teeth, shape.tongue, shape.tuck])


def _sway(frames: int, rng: np.random.RandomState) -> F64:
    """(frames, 3): slow shifts right and down in pixels, and a tilt in radians."""
    steps = rng.standard_normal((frames + 2 * FPS, 3))
    kernel = np.hanning(FPS)
    kernel /= np.sqrt(np.sum(kernel**2))
    slow = np.stack([np.convolve(column, kernel, "same") for column in steps.T], 1)[FPS : FPS + frames]
    return np.asarray(slow * (1.0, 1.0, 0.02))


def _texture(face: str | int) -> F64:
    """(96, 96) blotches of a skin, within some grey levels."""
    coarse = generator(derive_seed("mini-skin", face)).standard_normal((9, 9))
    at = np.linspace(0, 8, SIDE)
    rows = np.stack([np.interp(at, np.arange(9), column) for column in coarse.T], 1)  # (96, 9)
    return np.asarray(4.0 * np.stack([np.interp(at, np.arange(9), row) for row in rows]))


def _draw(face: Look, shapes: F64, sway: F64, texture: F64) -> F64:
    """(T, 96, 96) greys, without noise: skin, then lips over it, then what the open mouth shows over them."""
    opening, width, rounding, teeth, tongue, tuck = (column[:, None, None] for column in shapes.T)  # (T, 1, 1) each
    opening, pressed = face.effort * np.maximum(opening, 0), np.maximum(-opening, 0)
    right, down, tilt = (column[:, None, None] for column in sway.T)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    x, y = x - right, y - down
    x, y = np.cos(tilt) * x + np.sin(tilt) * y, np.cos(tilt) * y - np.sin(tilt) * x  # (T, 96, 96)

    half = face.width * (1 + face.effort * (0.35 * (width - 0.5) - 0.35 * rounding))
    arch = np.sqrt(np.clip(1 - (x / half) ** 2, 0, None))  # 1 in the middle, 0 at the corners
    inner = np.clip(1 - (x / (0.9 * half)) ** 2, 0, None)
    thickness = 1 - 2 * pressed + 0.25 * rounding
    top = -0.35 * face.height * opening * inner  # the edges of the opening
    bottom = 0.65 * face.height * (opening - 0.1 * tuck) * inner
    bow = 1 - 0.25 * np.exp(-((x / 3.5) ** 2))
    outer_top = -0.35 * face.height * opening * arch - face.upper * thickness * arch * bow
    outer_bottom = 0.65 * face.height * opening * arch + face.lower * thickness * arch * (1 - 0.55 * tuck)

    chin = np.exp(-(((y - outer_bottom - 7) / 5) ** 2)) * np.exp(-((x / (0.7 * half)) ** 2))
    skin = face.skin + texture - 0.12 * y - 0.15 * face.skin * chin
    shine = 0.18 * face.skin * np.exp(-(((y - 0.5 * (bottom + outer_bottom)) / 2.5) ** 2)) * arch
    lips = face.lip - 0.12 * face.lip * (y < 0) + shine
    seam = np.exp(-(((y - 0.5 * (top + bottom)) / (0.9 - 2 * pressed)) ** 2)) * (arch > 0)
    lips -= 0.5 * face.lip * seam
    frames = _over(skin, lips, _between(y, outer_top, outer_bottom) * (arch > 0))
    tongue_seen = _between(y, bottom - 9 * tongue, bottom) * (np.abs(x) < 0.6 * half)
    teeth_seen = _between(y, top, top + 6 * teeth) * (np.abs(x) < 0.75 * half)
    inside = _over(np.broadcast_to(face.inside, frames.shape), 0.7 * face.lip + 20, tongue_seen)
    inside = _over(inside, 0.3 * face.skin + 150, teeth_seen)
    return _over(frames, inside, _between(y, top, bottom) * (inner > 0))


def _between(y: F64, top: F64, bottom: F64) -> F64:
    """How much of each pixel lies below `top` and above `bottom`."""
    return np.clip(y - top + 0.5, 0, 1) * np.clip(bottom - y + 0.5, 0, 1) * (bottom > top)


def _over(below: F64, above: F64 | float, share: F64) -> F64:
    return below + share * (above - below)
