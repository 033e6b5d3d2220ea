"""How every page is made from its template: escaped, and nothing undefined."""

from __future__ import annotations

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from metis_bench.resources import data_dir


def environment() -> Environment:
    """Templates of `reports/templates`; whatever they show is escaped."""
    return Environment(
        loader=FileSystemLoader(data_dir("reports") / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
