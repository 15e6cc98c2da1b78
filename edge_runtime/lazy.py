"""Names of a package that are loaded when they are first asked for, so that what is never used costs no start-up."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


def lazy_names(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """`__getattr__`, `__dir__` (PEP 562) and `__all__` of a package. names: module within it -> what it gives.

    A name that was loaded stays in the package, so it is looked up once. A wrong one raises AttributeError. `dir` shows
    these names and Python's own, and not what the package's file imports or has loaded.
    """
    homes = {name: module for module, given in names.items() for name in given}

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names_of() -> list[str]:
        return public_names(vars(sys.modules[package]), homes)

    return get, names_of, sorted(homes)


def public_names(present: Iterable[str], public: Iterable[str]) -> list[str]:
    """What `dir` shows of a package. present: all names that are in it. public: those that are for others."""
    return sorted({*public, *(name for name in present if name.startswith("__") and name.endswith("__"))})
