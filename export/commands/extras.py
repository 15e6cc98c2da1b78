"""The optional dependencies of a command, asked for by the name of the extra that brings them."""

from __future__ import annotations

import importlib.util

import click


def require_extra(extra: str, *modules: str) -> None:
    """Fail with the command that installs an extra, where one of its modules is missing."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"{' and '.join(missing)} not found, this command needs them; install: pip install 'smallnet[{extra}]'"
        )
