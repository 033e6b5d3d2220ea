"""Slugs are safe and unique for any ids."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from metis_bench.report.links import slugs
from tests.report.conftest import HOSTILE_IDS


@given(st.sets(st.text(max_size=80), max_size=20))
def test_slugs_are_safe_and_unique(names: set[str]) -> None:
    found = slugs(names)
    assert set(found) == names
    assert len(set(found.values())) == len(names)
    assert all(re.fullmatch(r"[a-z0-9._-]{1,60}", slug) and not slug.startswith(".") for slug in found.values())


def test_readable_where_possible_and_told_apart_where_case_is_lost() -> None:
    assert slugs(["dns2020/no_reverb"]) == {"dns2020/no_reverb": "dns2020-no_reverb"}
    assert len(set(slugs(["a/b", "A/B", "a-b"]).values())) == 3
    assert len(set(slugs(HOSTILE_IDS).values())) == len(HOSTILE_IDS)
