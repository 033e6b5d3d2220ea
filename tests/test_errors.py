"""What an error looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from metis_bench import errors
from metis_bench.errors import MetisBenchError, SuiteError, install_command, missing_extra, nearest


def test_where_what_and_fix() -> None:
    assert str(SuiteError("no", where=Path("a.yaml"), line=3, fix="yes")) == "a.yaml:3: no\n  fix: yes"
    assert str(SuiteError("no", where="a.yaml")) == "a.yaml: no"
    assert str(SuiteError("no")) == "no"


def test_nearest() -> None:
    assert nearest("nosy", ["noisy", "clean"]) == "; did you mean 'noisy'? (valid: clean, noisy)"
    assert nearest("zzz", ["noisy"]) == " (valid: noisy)"
    assert nearest("x", []) == ""


def test_the_install_line_fits_this_installation(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checkout = Path(errors.__file__).resolve().parent.parent
    assert install_command("embedded") == f'pip install -e "{checkout}[embedded]"'
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "metis_bench" / "errors.py"))
    assert install_command("embedded") == 'pip install "metis-bench[embedded]"'
    assert install_command(None) == 'pip install "metis-bench"'
    assert "pip install" in str(missing_extra("x", "y", "z"))


def test_every_exception_is_drawn_in_the_docstring_with_its_exit_code() -> None:
    doc = errors.__doc__ or ""
    for name, value in vars(errors).items():
        if isinstance(value, type) and issubclass(value, MetisBenchError):
            line = next(x for x in doc.splitlines() if f" {name} " in f"{x} ")
            assert f"(exit {value.exit_code})" in line
