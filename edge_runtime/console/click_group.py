"""How a command line ends: a status, and one line on standard error for whatever was expected to go wrong."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from edge_runtime.console.entry import MOST_THREADS
from edge_runtime.console.exit_status import EXPECTED, explain, one_line
from edge_runtime.console.messages import be_quiet, one_line_warnings, say
from edge_runtime.console.wording import HELP
from edge_runtime.errors import Alternative, BudgetExceeded

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_NO_ARGUMENTS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())  # since click 8.2


class OneLineErrors(click.Group):
    """A group of commands that answers every expected failure with one line on standard error and an exit status.

    0: done. 1: a check failed, a budget does not hold, or the disk is full. 2: wrong usage or bad input. 130: Ctrl-C.
    """

    advise: Callable[[BudgetExceeded], Sequence[Alternative]] = staticmethod(lambda error: ())
    """What this program offers besides if a model does not fit its budget, as it is typed."""

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Run the command line and exit, or return its value when not `standalone_mode`."""
        run: Any = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **kwargs)
        try:
            with one_line_warnings():
                status = run(*args, standalone_mode=False, **kwargs)
        except click.exceptions.Exit as stop:
            status = stop.exit_code
        except click.Abort:
            status = _fail(*explain(KeyboardInterrupt()))
        except click.ClickException as error:
            is_help = isinstance(error, _NO_ARGUMENTS)
            if is_help:
                click.echo(error.format_message())
            status = 0 if is_help else _fail(_usage_text(error), 2)
        except EXPECTED as error:
            more = self.advise(error) if isinstance(error, BudgetExceeded) else ()
            text, status = explain(error, more=more)
            if text:
                _fail(text, status)
            else:
                sys.stderr.close()
        sys.exit(status if isinstance(status, int) else 0)


class Place(NamedTuple):
    """Where a command is found: a module, the function in it, and a line for the list of commands."""

    module: str
    function: str
    line: str


def _set_quiet(_context: click.Context, _option: click.Parameter, value: bool) -> None:
    be_quiet(value)


_COMMON: list[click.Parameter] = [  # every command takes these, after its name
    click.Option(
        ["--threads"],
        type=click.IntRange(1, MOST_THREADS),
        metavar="N",
        expose_value=False,  # see edge_runtime.console.entry, which has done it by now
        help=HELP["threads"],
    ),
    click.Option(["-q", "--quiet"], is_flag=True, expose_value=False, callback=_set_quiet, help=HELP["quiet"]),
]
_ABSENT = {  # what a command may need, and what installs it
    "numpy": "numpy",
    "onnx": "'smallnet[export]'",
    "onnxruntime": "'smallnet[export]'",
}


class LazyCommands(OneLineErrors):
    """Commands that are imported when they run: their list and its help need none of them.

    places: where each is found, by its name.
    """

    def __init__(self, *args: Any, places: Mapping[str, Place], **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names, in the order of the table."""
        return list(self.places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported now; None for an unknown name. What is not installed is said in one line."""
        if cmd_name not in self.places:
            return None
        place = self.places[cmd_name]
        try:
            found: click.Command = getattr(importlib.import_module(place.module), place.function)
        except ModuleNotFoundError as error:
            if error.name not in _ABSENT:
                raise
            need = f"{error.name} not found, '{cmd_name}' needs it; install: pip install {_ABSENT[error.name]}"
            raise click.ClickException(need) from error
        known = {option.name for option in found.params}
        found.params += [option for option in _COMMON if option.name not in known]
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so, with their lines, without importing them; and the group's options."""
        from click.shell_completion import CompletionItem  # a shell asks for it, and nobody else

        fitting = [(name, place.line) for name, place in self.places.items() if name.startswith(incomplete)]
        commands = [CompletionItem(name, help=line) for name, line in fitting]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list, without importing what is listed."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, place.line) for name, place in self.places.items()])


def _fail(text: str, status: int) -> int:
    say(f"error: {one_line(text)}")
    return status


def _usage_text(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see '{context.command_path} --help')" if context is not None else ""
    return error.format_message().rstrip(".") + hint
