"""Where each set and item is found in the report: safe, unique file names and anchors for any id."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from metis_bench.hashing import sha256_bytes
from metis_bench.report.data import RunData

PAGE_SIZE = 20
SLUG_LENGTH = 48


def slugs(names: Iterable[str]) -> dict[str, str]:
    """A short name of [a-z0-9._-] for each of `names`; those that would get the same one also get a hash.

    Different names have different slugs also where file names ignore case, whatever the order of `names`.
    """
    plain = {name: re.sub(r"[^a-z0-9._]+", "-", name.lower()).strip("-.")[:SLUG_LENGTH] for name in names}
    count = Counter(plain.values())
    return {
        name: slug if slug and count[slug] == 1 else f"{slug or 'x'}-{sha256_bytes(name.encode())[:10]}"
        for name, slug in plain.items()
    }


@dataclass(frozen=True)
class Links:
    """URLs relative to the report folder."""

    sets: Mapping[str, str]
    items: Mapping[tuple[str, str], str]
    pages: Mapping[tuple[str, str], int]

    def page(self, set_id: str) -> str:
        """The page of a set's items."""
        return f"items-{self.sets[set_id]}.html"

    def data(self, set_id: str, part: str) -> str:
        """What that page reads: one of its pages of items by number, or the `index`."""
        return f"data/items-{self.sets[set_id]}-{part}.js"

    def anchor(self, set_id: str, item: str) -> str:
        """The id of an item's element: the page of items that it is on, and its name."""
        return f"p{self.pages[set_id, item]}.item-{self.items[set_id, item]}"

    def item(self, set_id: str | None, item: str | None) -> str | None:
        """The URL of an item, or None when the plan has no such item."""
        if set_id is None or item is None or (set_id, item) not in self.items:
            return None
        return f"{self.page(set_id)}#{self.anchor(set_id, item)}"


def build_links(data: RunData) -> Links:
    """Links for every set and item; items are paged in plan order."""
    items: dict[tuple[str, str], str] = {}
    pages: dict[tuple[str, str], int] = {}
    for test_set in data.results.sets:
        names = [name for set_id, name in data.items if set_id == test_set.id]
        for index, (name, slug) in enumerate(slugs(names).items()):
            items[test_set.id, name] = slug
            pages[test_set.id, name] = index // PAGE_SIZE + 1
    return Links(slugs(test_set.id for test_set in data.results.sets), items, pages)
