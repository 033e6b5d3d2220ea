"""The phone table and what falls outside it."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

from reference_models.text.phones import GAP, MARKS, PHONE_IDS, PHONES, encode


def test_golden_the_table_is_the_releases(golden: Path) -> None:
    assert json.loads((golden / "g2p_vocab.json").read_text()) == PHONE_IDS


def test_ids_are_positions_without_holes() -> None:
    assert len(PHONES) == len(set(PHONES)) == len(PHONE_IDS) == 363
    assert [PHONE_IDS[p] for p in PHONES] == list(range(363))
    assert [PHONE_IDS[p] for p in (",", GAP, "iː", "a", "ə", "ə↓", "…")] == [0, 4, 5, 210, 57, 223, 362]
    assert set(MARKS) <= set(PHONES)


def test_every_tone_of_a_mandarin_rime_is_there() -> None:
    bases = {phone[:-1].removesuffix("↓") for phone in PHONES if phone.endswith("↑")}
    assert len(bases) > 40
    assert {base + tone for base in bases for tone in ("", "→", "↑", "↓↑", "↓")} <= set(PHONES)


def test_two_phones_that_look_alike_stay_two() -> None:
    alike = [phone for phone in PHONES if unicodedata.normalize("NFC", phone) == "ç"]
    assert [PHONE_IDS[phone] for phone in alike] == [68, 323]


def test_encode_reports_what_it_drops() -> None:
    phones = encode(["h", "ɔø", GAP, "oʊ", "?", "ph"])
    assert phones.ids == (41, 4, 23, 2)
    assert phones.dropped == ("ɔø", "ph")
    assert phones.symbols == ("h", "ɔø", GAP, "oʊ", "?", "ph")


def test_punctuation_and_gaps_are_not_speech() -> None:
    assert not encode([*MARKS, GAP, "ɔø"]).speech
    assert encode(["?", "a"]).speech
