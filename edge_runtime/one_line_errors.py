"""How a command line ends: a status, and one line on standard error for whatever was expected to go wrong."""

from __future__ import annotations

import contextlib
import errno
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import click

from edge_runtime.errors import BudgetExceeded, SmallnetError

_LONGEST_LINE = 2000  # of an error: names in files may be of any length
_DISK_FULL = {errno.ENOSPC, errno.EFBIG, errno.EDQUOT, errno.EIO}


_NO_ARGUMENTS: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())  # since click 8.2


class OneLineErrors(click.Group):
    """A group of commands that answers every expected failure with one line on standard error and an exit status.

    0: done. 1: a check failed, a budget does not hold, or the disk is full. 2: wrong usage or bad input. 130: Ctrl-C.
    """

    def main(self, *args: Any, standalone_mode: bool = True, **kwargs: Any) -> Any:
        """Run the command line and exit, or return its value when not `standalone_mode`."""
        run: Any = super().main
        if not standalone_mode:
            return run(*args, standalone_mode=False, **kwargs)
        try:
            with _one_line_warnings():
                status = run(*args, standalone_mode=False, **kwargs)
        except click.exceptions.Exit as stop:
            status = stop.exit_code
        except (click.Abort, KeyboardInterrupt):
            status = _fail("stopped by Ctrl-C", 130)
        except click.ClickException as error:
            is_help = isinstance(error, _NO_ARGUMENTS)
            if is_help:
                click.echo(error.format_message())
            status = 0 if is_help else _fail(_usage_text(error), 2)
        except BudgetExceeded as error:
            status = _fail(str(error), 1)
        except SmallnetError as error:
            status = _fail(str(error), 2)
        except MemoryError as error:
            status = _fail(f"not enough memory ({error}); use smaller layers or fewer rows", 1)
        except BrokenPipeError:  # the reader of our output went away: not worth a word
            sys.stderr.close()
            status = 1
        except OSError as error:
            status = _fail(_os_text(error), 1 if error.errno in _DISK_FULL else 2)
        sys.exit(status if isinstance(status, int) else 0)


@contextlib.contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Warnings without the source line that raised them, and none of NumPy's of an overflow: the outputs show that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.showwarning = lambda message, *_, **__: click.echo(f"warning: {_one_line(str(message))}", err=True)
        yield


def _one_line(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))[:_LONGEST_LINE]


def _fail(text: str, status: int) -> int:
    click.echo(f"error: {_one_line(text)}", err=True)
    return status


def _usage_text(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see '{context.command_path} --help')" if context is not None else ""
    return error.format_message().rstrip(".") + hint


def _os_text(error: OSError) -> str:
    reason = error.strerror or str(error)
    old = ", the old file is as it was" if error.filename else ""  # errors of files name them, see edge_runtime.atomic
    advice = {
        errno.ENOENT: "" if "folder" in reason else "; check the name",
        errno.EISDIR: "; expected a file",
        errno.EACCES: "; check the permissions",
        errno.ENOSPC: "; free some space" + old,
        errno.EFBIG: "; raise the limit on file sizes" + old,
    }
    # os.getcwd() names no file where the folder is gone; nothing else that is printed or opened fails so
    unnamed = "the present folder" if error.errno == errno.ENOENT else "standard output"
    return f"{error.filename or unnamed}: {reason}{advice.get(error.errno or 0, '')}"
