"""Names to classes. A module in the right folder that decorates a class is all it takes to add one."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from metis_bench.errors import SuiteError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """Lazily imports every module of one package, then maps names to the classes they registered."""

    def __init__(self, what: str, package: str) -> None:
        self.what = what
        self._package = package
        self._classes: dict[str, type[T]] = {}
        self._loaded = False
        self._elsewhere: tuple[Callable[[], Iterable[str]], Callable[[str], type[T]]] | None = None

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """Class decorator. A name registered twice by different classes is an error."""

        def add(cls: type[T]) -> type[T]:
            known = self._classes.get(name)
            if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
                raise SuiteError(
                    f"the {self.what} '{name}' is registered twice: by {known.__module__} and {cls.__module__}"
                )
            self._classes[name] = cls
            return cls

        return add

    def also(self, names: Callable[[], Iterable[str]], find: Callable[[str], type[T]]) -> None:
        """Names that are data, not code: `find` makes the class of one of `names` when it is asked for."""
        self._elsewhere = (names, find)

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            if not module.name.startswith("_"):
                importlib.import_module(f"{self._package}.{module.name}")

    def get(self, name: str) -> type[T]:
        """The class called `name`. Raises SuiteError with the nearest valid name."""
        self._load()
        if name in self._classes:
            return self._classes[name]
        others = self.others()
        if self._elsewhere is None or name not in others:
            raise SuiteError(f"unknown {self.what} '{name}'{nearest(name, [*self._classes, *others])}")
        self._classes[name] = found = self._elsewhere[1](name)
        return found

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._load()
        return sorted(self._classes)

    def others(self) -> list[str]:
        """Names that are not registered but can be had, sorted."""
        self._load()
        return sorted(set(self._elsewhere[0]()) - set(self._classes)) if self._elsewhere else []

    def items(self) -> Iterator[tuple[str, type[T]]]:
        """(name, class) in name order."""
        self._load()
        yield from sorted(self._classes.items())
