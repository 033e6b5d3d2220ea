"""A document against a pydantic model, with errors that name file, line and the nearest valid key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from metis_bench.errors import SuiteError, nearest
from metis_bench.suite.documents import Document, KeyPath

SHOWN_ERRORS = 6
UNION_TAGS = ("[key]", "str")  # what pydantic adds to the place of an error in a union or a key
M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], doc: Document, prefix: KeyPath = (), also: Iterable[str] = ()) -> M:
    """`doc` as a `model`. prefix: where it stands in its file; also: keys that are valid beside the model's own.

    Raises SuiteError with the place of the first error, followed by the next few.
    """
    try:
        return model.model_validate(doc.data)
    except ValidationError as error:
        raise _explain(error, model, list(also), doc, prefix) from None


def _explain(
    error: ValidationError, model: type[BaseModel], also: Sequence[str], doc: Document, prefix: KeyPath
) -> SuiteError:
    """The first error becomes the message with its file:line; the next few follow, one a line.

    Unknown keys come first: one that is misspelt is also one that lacks.
    """
    messages: list[tuple[KeyPath, str]] = []
    for detail in sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden"):
        loc = tuple(x for x in detail["loc"] if x not in UNION_TAGS and not str(x).startswith(("dict[", "function")))
        path = (*prefix, *loc)
        if detail["type"] == "extra_forbidden":
            valid = [*keys_at(model, loc[:-1]), *(also if len(loc) == 1 else ())]
            text = f"unknown key '{loc[-1]}'{nearest(str(loc[-1]), valid) if valid else ''}"
        else:
            here = ".".join(map(str, loc or prefix[-1:])) or "suite"
            told = detail["msg"].removeprefix("Value error, ")
            text = f"{here}: {told[:1].lower()}{told[1:]}"
        if (path, text) not in messages:
            messages.append((path, text))
    rest = []
    for path, text in messages[1:SHOWN_ERRORS]:
        place = doc.place(path)
        where = "" if place is None else f"{place.file}:{place.line}: " if place.line else f"{place.file}: "
        rest.append(f"\n  also {where}{text}")
    return doc.error(messages[0][0], messages[0][1] + "".join(rest))


def keys_at(model: type[BaseModel], path: KeyPath) -> list[str]:
    """What a mapping at a place of a model's document may have as keys; [] where that is free, or a union."""
    found: Any = model
    for part in path:
        fields = getattr(found, "model_fields", None)
        if fields is None:  # a list or a mapping: what it holds
            arguments = get_args(found)
            found = arguments[-1] if arguments else None
        else:
            named = {field.alias or name: field for name, field in fields.items()}
            found = named[part].annotation if part in named else None
    fields = getattr(found, "model_fields", None) or {}
    return [field.alias or name for name, field in fields.items()]
