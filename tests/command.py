"""The command line within the test's own process, for every version of click that is allowed."""

from __future__ import annotations

import inspect
from typing import Any

from click.testing import CliRunner, Result

from export.commands.cli import main

# before click 8.2 the streams were mixed unless this was said; since then they never are, and it cannot be said
_SEPARATE: dict[str, Any] = {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}


def run_command(*arguments: object, color: bool = False) -> Result:
    """`smallnet ARGUMENTS`: exit_code, stdout, stderr. color: escape sequences stay in them, as on a terminal."""
    return CliRunner(**_SEPARATE).invoke(main, [str(argument) for argument in arguments], color=color)
