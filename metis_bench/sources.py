"""Which source code decides what a plug-in or an adapter does: part of its identity in the store."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
from pathlib import Path

from metis_bench.hashing import sha256_bytes, sha256_json

SHIPPED = ("metis_bench.systems.", "reference_models.")


def source_hash(cls: type, root: type) -> str:
    """sha256 over the source of a class, its bases below `root`, and every module of theirs that these import.

    "Theirs": metis_bench.systems and reference_models for what ships with the package; for a plug-in, all that lies in
    its file's folder.
    Module names and folders do not matter, nor do installed packages (a system declares those it depends on).
    """
    # no module names: a plug-in may be renamed
    return sha256_json(sorted({sha256_bytes(file.read_bytes()) for file in source_files(cls, root)}))


def source_files(cls: type, root: type) -> list[Path]:
    """The files that `source_hash` reads."""
    seen: dict[str, Path] = {}
    bases = {c.__module__ for c in cls.__mro__ if issubclass(c, root) and c is not root}
    todo = sorted(bases)
    folder = Path(inspect.getfile(cls)).resolve().parent
    shared = folder.name in ("site-packages", "dist-packages")  # a lone module there owns nothing but itself
    while todo:
        name = todo.pop()
        if name in seen or name == root.__module__:
            continue
        own = name in bases or name.startswith(SHIPPED)
        if not own and (shared or not _may_lie_in(name, folder)):
            continue
        file = _module_file(name)
        if file is None or not (own or file.is_relative_to(folder)):
            continue
        seen[name] = file
        todo += _imports(ast.parse(file.read_bytes()), name)
    return list(seen.values())


def _may_lie_in(name: str, folder: Path) -> bool:
    """Whether a module's top-level package is in, or around, `folder`. Imports nothing (a submodule's spec would)."""
    try:
        spec = importlib.util.find_spec(name.partition(".")[0])
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    places = [Path(place).resolve() for place in spec.submodule_search_locations or [spec.origin or ""]]
    return any(place.is_relative_to(folder) or folder.is_relative_to(place) for place in places)


def _module_file(name: str) -> Path | None:
    """The Python file of a module, imported or importable; None for packages without source and unknown names."""
    try:
        spec = getattr(sys.modules.get(name), "__spec__", None) or importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    origin = None if spec is None else spec.origin
    return Path(origin).resolve() if origin is not None and origin.endswith(".py") else None


def _imports(tree: ast.AST, module: str) -> list[str]:
    """Names of all modules a module may import: `import a.b`, `from a import b` (b may be a module), relative ones."""
    out: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module.split(".")[: -node.level]
                base = ".".join([*package, base] if base else package)
            out += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return [name for name in out if name]
