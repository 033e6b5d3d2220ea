"""Sentences: none twice, and none of an evaluation in training."""

from __future__ import annotations

import hashlib
import json
from collections import Counter

import pytest

from reference_models.mini import grammar
from reference_models.mini.grammar import (
    ITEMS_PER_ROLE,
    RESIDUES,
    ROLES,
    SENTENCES,
    SLOTS,
    TASKS,
    Split,
    sentence,
    split_of,
    training_sentence,
)
from reference_models.mini.voices import SPEAKERS


def test_no_sentence_is_said_twice_in_any_task_or_role() -> None:
    for seed in (0, 1, 12345):
        said = [sentence(seed, task, role, i) for task in TASKS for role in ROLES for i in range(300)]
        assert len(set(said)) == len(said)


def test_the_last_sentence_exists_and_the_next_is_refused() -> None:
    assert ITEMS_PER_ROLE == 13**4 * 11 * 5 * 9 // 15
    assert sentence(0, "l2s", "prompt-2", ITEMS_PER_ROLE - 1).endswith(".")
    with pytest.raises(IndexError, match=str(ITEMS_PER_ROLE)):
        sentence(0, "tts", "target", ITEMS_PER_ROLE)
    assert training_sentence(SENTENCES["training"] - 1).endswith(".")
    with pytest.raises(IndexError, match=str(SENTENCES["recogniser"])):
        training_sentence(SENTENCES["recogniser"], "recogniser")
    with pytest.raises(IndexError):
        training_sentence(0, "evaluation")


def test_sentences_have_eight_words_of_the_grammar() -> None:
    words = {w for slot in SLOTS for w in slot} | {"the"}
    for said in [sentence(3, "se", "target", i) for i in range(50)] + [training_sentence(i) for i in range(50)]:
        assert len(said.rstrip(".").split()) == 8 and set(said.rstrip(".").split()) <= words


def test_words_are_spread_and_do_not_go_with_the_speaker() -> None:
    for said in (
        [sentence(0, "tts", "target", i) for i in range(390)],
        [training_sentence(i) for i in range(390)],
        [training_sentence(i, "recogniser") for i in range(390)],
    ):
        for position in (0, 1, 2, 3, 4, 5, 7):
            counts = Counter(text.rstrip(".").split()[position] for text in said)
            slot = SLOTS[min(position, 6)]
            assert set(counts) == set(slot)
            assert max(counts.values()) < 2.5 * 390 / len(slot)
        assert {text.split()[0] for text in said[:: len(SPEAKERS)]} == set(SLOTS[0])


def test_the_splits_are_the_grammar_without_overlap() -> None:
    assert sorted(residue for residues in RESIDUES.values() for residue in residues) == list(range(13))
    assert sum(SENTENCES.values()) == 13**5 * 11 * 5 == len(SLOTS[-1]) * 13**4 * 11 * 5


@pytest.mark.parametrize("split", ["training", "recogniser", "evaluation"])
def test_every_number_of_a_split_is_another_sentence_of_it(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, of a grammar small enough: three words a slot, the last as it is."""
    slots = (*(slot[: 3 + place % 2] for place, slot in enumerate(SLOTS[:-1])), SLOTS[-1])
    free = 3 * 4 * 3 * 4 * 3 * 4
    monkeypatch.setattr(grammar, "SLOTS", slots)
    monkeypatch.setattr(grammar, "SENTENCES", {name: free * len(of) for name, of in RESIDUES.items()})
    said = {grammar._spread(split, 5, number) for number in range(grammar.SENTENCES[split])}
    assert len(said) == free * len(RESIDUES[split])
    assert {split_of(text) for text in said} == {split}


def test_no_sentence_of_training_is_asked_in_an_evaluation_whatever_the_seed() -> None:
    learned = [training_sentence(i * 977) for i in range(2000)]
    heard = [training_sentence(i * 733, "recogniser") for i in range(2000)]
    asked = [sentence(s, t, r, i) for s in (0, 1, 77, 10**9) for t in TASKS for r in ROLES for i in range(60)]
    assert {split_of(text) for text in learned} == {"training"} and len(set(learned)) == 2000
    assert {split_of(text) for text in heard} == {"recogniser"} and len(set(heard)) == 2000
    assert {split_of(text) for text in asked} == {"evaluation"}


def test_what_is_no_sentence_of_the_grammar_belongs_to_no_split() -> None:
    for text in ("Peter counted seven wooden ladders.", "Peter counted one wooden ladders near the castle.", ""):
        with pytest.raises(ValueError):
            split_of(text)


def test_the_texts_of_version_2_never_change() -> None:
    said = [sentence(0, task, role, i) for task in TASKS for role in ROLES for i in range(12)]
    said += [training_sentence(i) for i in range(50)] + [training_sentence(i, "recogniser") for i in range(50)]
    assert (
        hashlib.sha256(json.dumps(said).encode()).hexdigest()
        == "7f633acb09d05c9da256fc806444d737ae44d262be43fcb8cbfca93b1604cb48"
    )
