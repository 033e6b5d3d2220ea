"""Errors of the reference models in the harness' words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from metis_bench.errors import ItemError, MissingPrerequisite, SuiteError, install_command
from reference_models import errors


@contextmanager
def told() -> Iterator[None]:
    """Whatever the reference models raise within, as the harness' error of the same meaning and exit code."""
    try:
        yield
    except errors.InputError as error:
        raise ItemError(error.message, fix=error.fix) from error
    except errors.MissingPackage as error:
        raise MissingPrerequisite(error.message, fix=install_command(error.extra)) from error
    except errors.MissingCheckpoint as error:
        raise MissingPrerequisite(error.message, fix=error.fix) from error
    except errors.MetisError as error:
        raise SuiteError(error.message, fix=error.fix) from error
