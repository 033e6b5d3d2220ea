"""The closed grammar of the mini corpus: eight words a sentence, no sentence said twice.

    NAME VERB NUMBER ADJECTIVE NOUN PREPOSITION the PLACE        "Peter counted seven wooden ladders behind the castle."

Sentence numbers are spread over the grammar by an affine bijection, so different numbers are different sentences for
every seed, and the sentence of an item depends on (seed, task, role, item) only, not on how many items there are.

What models are trained on is never asked in an evaluation, whatever the seed: words are counted round in their slots,
and the sum of these numbers modulo 13 says which split a sentence belongs to.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from reference_models.seeds import derive_seed

Role: TypeAlias = Literal["target", "prompt-1", "prompt-2"]
Split: TypeAlias = Literal["training", "recogniser", "evaluation"]
TASKS = ("tts", "se", "vc", "tse", "l2s")  # fixed positions: a new task goes to the end
ROLES: tuple[Role, ...] = ("target", "prompt-1", "prompt-2")

# Slot sizes share no factor with the number of speakers, so speakers and words do not go together.
SLOTS: tuple[tuple[str, ...], ...] = tuple(
    tuple(words.split())
    for words in (
        "Peter Kathy Lucas Rachel Steven Nina Thomas Alice William Megan Doris Kevin Howard",
        "bought carried counted found moved painted sold gathered washed wanted dropped noticed borrowed",
        "two three four six seven nine ten eleven twelve fifteen twenty",
        "green yellow purple orange heavy tiny ancient broken silver wooden pretty cheap narrow",
        "bottles ladders candles tables windows chairs pictures jackets spoons baskets rings flowers pencils",
        "behind under near inside beyond",
        "garden kitchen station castle river market bridge library mountain office village harbor school",
    )
)
RESIDUES: dict[Split, tuple[int, ...]] = {"training": (0, 1, 2), "recogniser": (3,), "evaluation": tuple(range(4, 13))}
_FREE = math.prod(len(words) for words in SLOTS[:-1])  # the last slot's word is what makes a sentence one of a split
SENTENCES: dict[Split, int] = {split: _FREE * len(residues) for split, residues in RESIDUES.items()}
ITEMS_PER_ROLE = SENTENCES["evaluation"] // (len(TASKS) * len(ROLES))


def sentence(seed: int, task: str, role: Role, item: int) -> str:
    """The sentence of one item. Raises IndexError past the grammar's end (nearly a million items a role)."""
    if not 0 <= item < ITEMS_PER_ROLE:
        raise IndexError(f"the mini grammar has {ITEMS_PER_ROLE} sentences a role, not {item + 1}")
    block = TASKS.index(task) * len(ROLES) + ROLES.index(role)
    return _spread("evaluation", seed, block * ITEMS_PER_ROLE + item)


def training_sentence(number: int, split: Split = "training") -> str:
    """The sentence of that number of another split than the evaluation's. Raises IndexError past its end."""
    if not 0 <= number < SENTENCES[split] or split == "evaluation":
        raise IndexError(f"the split '{split}' has {SENTENCES[split]} sentences, not {number + 1}")
    return _spread(split, 0, number)


def split_of(text: str) -> Split:
    """Which split a sentence belongs to. Raises ValueError for a text that is no sentence of the grammar."""
    words = text.removesuffix(".").split()
    if len(words) != len(SLOTS) + 1 or words.pop(-2) != "the":
        raise ValueError(f"'{text}' is no sentence of the mini grammar")
    residue = sum(slot.index(word) for slot, word in zip(SLOTS, words, strict=True)) % len(SLOTS[-1])
    return next(split for split, residues in RESIDUES.items() if residue in residues)


def _spread(split: Split, seed: int, number: int) -> str:
    """A sentence of the split; other numbers below `SENTENCES[split]` give others."""
    total, residues = SENTENCES[split], RESIDUES[split]
    number = (_multiplier(seed, total) * number + derive_seed("mini-text", seed)) % total
    number, residue = divmod(number, len(residues))
    words, digits, shift = [], 0, residue
    for slot in SLOTS[:-1]:
        number, digit = divmod(number, len(slot))
        shift += digit  # adds the slots before: still one-to-one, and the slow last slots change every time
        words.append(slot[shift % len(slot)])
        digits += shift % len(slot)
    place = SLOTS[-1][(residues[residue] - digits) % len(SLOTS[-1])]
    return " ".join([*words, "the", place]) + "."


def _multiplier(seed: int, total: int) -> int:
    """A number coprime to `total`, drawn by the seed: neighbours get unrelated sentences."""
    number = derive_seed("mini-multiplier", seed) % total
    while math.gcd(number, total) != 1:
        number += 1
    return number
