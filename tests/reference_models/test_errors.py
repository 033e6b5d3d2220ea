"""Errors as users see them."""

from __future__ import annotations

import pickle

from reference_models.errors import InputError, MissingPackage


def test_errors_say_what_to_do_and_survive_another_process() -> None:
    missing = MissingPackage("reading lips", "av", "lips")
    again = pickle.loads(pickle.dumps(missing))
    assert str(again) == str(missing) and 'pip install "metis-bench[lips]"' in str(missing)
    assert "fix: shorten it" in str(InputError("too long", fix="shorten it"))
