"""Target lengths."""

from __future__ import annotations

from typing import get_args

import pytest

from reference_models.errors import InputError
from reference_models.text.lengths import DurationPolicy, frames_by_phones, target_frames


def test_by_bytes_counts_utf8() -> None:
    assert target_frames("bytes", text="abcdef", prompt_text="abc", prompt_frames=101) == 202
    assert target_frames("bytes", text="你好", prompt_text="abcd", prompt_frames=5) == 7  # 5 * 6 // 4
    assert target_frames("bytes", text="a", prompt_text="a" * 60, prompt_frames=50) == 1  # not 0


def test_by_phones_rounds_down_as_the_release() -> None:
    assert target_frames("phones", phones=40, prompt_phones=30, prompt_seconds=3.0) == 200
    assert target_frames("phones", phones=1, prompt_phones=3, prompt_seconds=1.0) == 16
    assert target_frames("phones", phones=0, prompt_phones=3, prompt_seconds=1.0) == 1


@pytest.mark.parametrize("samples", [48_000, 47_999, 33_333, 160_001])
@pytest.mark.parametrize(("phones", "prompt_phones"), [(7, 49), (169, 41), (33, 100)])
def test_by_phones_is_the_releases_formula_to_the_bit(samples: int, phones: int, prompt_phones: int) -> None:
    released = int((samples * phones / prompt_phones) / 16000 * 50)
    assert frames_by_phones(phones, prompt_phones, samples / 16000) == released


@pytest.mark.parametrize("policy", ["fixed", "ground-truth"])
def test_seconds_become_whole_frames(policy: DurationPolicy) -> None:
    assert target_frames(policy, seconds=2.0) == 100
    assert target_frames(policy, seconds=2.019) == 100
    assert target_frames(policy, seconds=0.001) == 1
    for wrong in (None, 0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="duration"):
            target_frames(policy, seconds=wrong)


def test_an_empty_prompt_text_says_what_to_do() -> None:
    for policy in ("bytes", "phones"):
        with pytest.raises(InputError, match="prompt's text, which is empty") as error:
            target_frames(policy, text="abc", phones=3, prompt_frames=50, prompt_seconds=1.0)
        assert error.value.fix is not None
        assert "transcript" in error.value.fix
    assert set(get_args(DurationPolicy)) == {"bytes", "phones", "fixed", "ground-truth"}
