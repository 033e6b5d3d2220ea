"""The closed grammar of the mini corpus: eight words a sentence, no sentence said twice.

    NAME VERB NUMBER ADJECTIVE NOUN PREPOSITION the PLACE        "Peter counted seven wooden ladders behind the castle."

Sentence numbers are spread over the grammar by an affine bijection, so different numbers are different sentences for
every seed, and the sentence of an item depends on (seed, task, role, item) only, not on how many items there are.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

from metis_bench.hashing import derive_seed

Role: TypeAlias = Literal["target", "prompt-1", "prompt-2"]
TASKS = ("tts", "se", "vc", "tse")  # fixed positions: a new task goes to the end
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
SENTENCES = math.prod(len(words) for words in SLOTS)
ITEMS_PER_ROLE = SENTENCES // (len(TASKS) * len(ROLES))


def sentence(seed: int, task: str, role: Role, item: int) -> str:
    """The sentence of one item. Raises IndexError past the grammar's end (1.7 million items a role)."""
    if not 0 <= item < ITEMS_PER_ROLE:
        raise IndexError(f"the mini grammar has {ITEMS_PER_ROLE} sentences a role, not {item + 1}")
    block = TASKS.index(task) * len(ROLES) + ROLES.index(role)
    number = (_multiplier(seed) * (block * ITEMS_PER_ROLE + item) + derive_seed("mini-text", seed)) % SENTENCES
    words, shift = [], 0
    for slot in SLOTS:
        number, digit = divmod(number, len(slot))
        shift += digit  # adds the slots before: still one-to-one, and the slow last slots change every time
        words.append(slot[shift % len(slot)])
    return " ".join([*words[:-1], "the", words[-1]]) + "."


def _multiplier(seed: int) -> int:
    """A number coprime to SENTENCES, drawn by the seed: neighbours get unrelated sentences."""
    number = derive_seed("mini-multiplier", seed) % SENTENCES
    while math.gcd(number, SENTENCES) != 1:
        number += 1
    return number
