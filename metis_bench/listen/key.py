"""The key and the ratings files: strictly read, since both come back from outside. Nothing here is trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from metis_bench.errors import UsageError
from metis_bench.hashing import sha256_json
from metis_bench.listen.design import SCALES, Kind, Test

KEY_FORMAT, RATINGS_FORMAT, SCHEMA = "metis-bench-listening-key", "metis-bench-ratings", 1
MAX_BYTES = 64 << 20  # of a key or a ratings file
SHOWN = 10  # refused files named in one error
T = TypeVar("T")
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, frozen=True, strict=True)


class Meaning(_Strict):
    """What a trial is; see `design.Trial`."""

    kind: Kind
    set: str | None
    item: str | None
    system: str | None
    sign: Literal[-1, 1]
    expect: int | None


class Page(BaseModel):
    """The published part of the key."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    kind: Test
    trials: dict[str, list[str]]
    forms: list[list[str]] = Field(min_length=1)
    audio: dict[str, str]


class Key(_Strict):
    """What the researcher kept."""

    format: Literal["metis-bench-listening-key"]
    schema_: Literal[1] = Field(alias="schema")
    test: str
    hash: str
    systems: list[str]
    reference: str | None
    page: Page
    meanings: dict[str, Meaning]


class Rating(_Strict):
    """One answer. plays: how often each of the trial's clips was heard to its end."""

    trial: str
    value: int
    plays: list[int] = Field(max_length=4)
    seconds: float = Field(ge=0)


class Ratings(_Strict):
    """One rater's file."""

    format: Literal["metis-bench-ratings"]
    schema_: Literal[1] = Field(alias="schema")
    test: str
    hash: str
    rater: Name
    form: int
    started: str | None
    finished: str | None
    ratings: list[Rating] = Field(max_length=100_000)


@dataclass(frozen=True)
class Received:
    """A valid ratings file and where it came from."""

    file: str
    ratings: Ratings
    values: Mapping[str, int]

    @property
    def content(self) -> str:
        """Equal for two copies of one file."""
        return sha256_json(self.ratings.model_dump(mode="json"))


def load_key(path: Path) -> Key:
    """Read key.json. Raises UsageError when it is not a key, or was changed since the test was built."""
    data = _object(path)
    key = _validated(data, TypeAdapter(Key), path)
    body = {k: v for k, v in data["page"].items() if k not in ("test", "hash", "audio")}
    if sha256_json([body, data["page"]["audio"]]) != key.hash or key.test != key.hash[:12]:
        raise UsageError("the key was changed since the test was built: its hash does not fit", where=path)
    known = {name for form in key.page.forms for name in form}
    if set(key.meanings) != set(key.page.trials) or not known <= set(key.page.trials):
        raise UsageError("the key's trials and their meanings do not fit each other", where=path)
    return key


def load_ratings(paths: Sequence[Path], key: Key) -> list[Received]:
    """Read every ratings file. Raises UsageError that names each file that is not one of this test, and why."""
    found, refused = [], []
    for path in paths:
        try:
            found.append(_received(path, key))
        except UsageError as error:
            refused.append(f"{path}: {error.message}")
    if refused:
        more = [f"... and {len(refused) - SHOWN} more"] if len(refused) > SHOWN else []
        text = "\n  ".join([f"{len(refused)} of {len(paths)} ratings files are refused:", *refused[:SHOWN], *more])
        raise UsageError(text, fix="leave these files out, or get them again from the rater")
    return found


def _received(path: Path, key: Key) -> Received:
    ratings = _validated(_object(path), TypeAdapter(Ratings), path)
    if ratings.test != key.test:
        raise UsageError(f"of another test ({ratings.test[:40]!r}, this is '{key.test}')")
    if ratings.hash != key.hash:
        raise UsageError("the test it was made with is not the one that was built (the hash differs)")
    if not 1 <= ratings.form <= len(key.page.forms):
        raise UsageError(f"form {ratings.form} is not one of the test's {len(key.page.forms)}")
    form, allowed = set(key.page.forms[ratings.form - 1]), SCALES[key.page.kind].values
    values: dict[str, int] = {}
    for rating in ratings.ratings:
        if rating.trial not in form:
            raise UsageError(f"rates {rating.trial[:40]!r}, which is not in form {ratings.form}")
        if rating.trial in values:
            raise UsageError(f"rates '{rating.trial}' twice")
        if rating.value not in allowed:
            raise UsageError(f"'{rating.trial}' is rated {rating.value}, outside {allowed[0]}..{allowed[-1]}")
        values[rating.trial] = rating.value
    return Received(str(path), ratings, values)


def _object(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file() and path.exists():
            raise UsageError("not a file", where=path)
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read it ({getattr(error, 'strerror', None) or error})", where=path) from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"larger than {MAX_BYTES >> 20} MiB", where=path)
    try:
        value = json.loads(data)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()  # no NaN, no half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not valid JSON ({error})", where=path) from None
    if not isinstance(value, dict):
        raise UsageError("not a JSON object", where=path)
    return value


def _validated(data: dict[str, Any], adapter: TypeAdapter[T], path: Path) -> T:
    try:
        return adapter.validate_python(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:120]
        raise UsageError(f"'{place}': {first['msg'][:200]}", where=path) from None
