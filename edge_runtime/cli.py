"""Commands for a device: run, inspect, selftest, devices. `python -m edge_runtime` needs NumPy and click, no more."""

from __future__ import annotations

import contextlib
import errno
import json
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.errors import BudgetExceeded, SmallnetError

if TYPE_CHECKING:
    from edge_runtime.limits import Limits
    from edge_runtime.model import Model

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


class RowsDone:
    """Says on standard error how far long work is, every two seconds; on a terminal in one line, written over."""

    def __init__(self, what: str) -> None:
        self.what, self.last = what, time.monotonic()
        self.on_terminal = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Told after each block of rows."""
        if time.monotonic() - self.last < 2.0:
            return
        self.last = time.monotonic()
        start = "\r" if self.on_terminal else ""
        click.echo(f"{start}{self.what}: {done:,} of {total:,} rows", err=True, nl=not self.on_terminal)


force_option = click.option("--force", is_flag=True, help="Replace an output file even where it is something else.")


class Size(click.ParamType):
    """A number of bytes such as 1000000, 512K, 64M or 2G, in powers of 1024."""

    name = "BYTES"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """The bytes; fails for anything but a positive whole number and one letter."""
        match = re.fullmatch(r"([1-9][0-9]{0,15})([KMG]?)", str(value).upper())
        if match is None:
            self.fail(f"{value!r} found, expected bytes such as 1000000, 512K, 64M or 2G", param, ctx)
        return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]


max_bytes_option = click.option(
    "--max-bytes", type=Size(), help="Largest file to read, such as 2G (default: 256M for a model, 1G for data)."
)


def cap(max_bytes: int | None) -> dict[str, Any]:
    """The argument of a reader that --max-bytes stands for; nothing where it was not given."""
    return {} if max_bytes is None else {"max_bytes": max_bytes}


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


_MMAP_HELP = "Map the weights from the file instead of reading them, as a microcontroller runs from flash."
_OVER_HELP = "More rows than --max-batch: run them part by part, or refuse them."
_DEVICE_HELP = "Keep the RAM and flash of this device; see 'smallnet devices'. Its speed is predicted, not kept."


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `load_limited` takes, for every command that runs a model."""
    for option in (
        click.option("--mmap", is_flag=True, help=_MMAP_HELP),
        click.option("--over-batch", "over", default="split", show_default=True, help=_OVER_HELP),
        click.option("--max-batch", type=int, help="Rows sent through the network together."),
        click.option(
            "--speed-factor", type=float, default=1.0, show_default=True, help="Make each run take N x as long."
        ),
        click.option("--device", help=_DEVICE_HELP),
        click.option("--flash-bytes", type=int, help="Refuse an artifact that is larger than this."),
        click.option("--ram-bytes", type=int, help="Refuse to run in more memory than this."),
    ):
        command = option(command)
    return command


def load_limited(path: str, *, mmap: bool, max_bytes: int | None, **limits: Any) -> tuple[Model, Limits]:
    """The model in an artifact and the limits to run it under: the values of `max_bytes_option`, `limit_options`."""
    from edge_runtime.artifact import load
    from edge_runtime.limits import Limits

    wanted = Limits(**limits)
    return load(path, mmap=mmap, **cap(max_bytes)), wanted


def warn_of_range(model: Any, rows: Any) -> None:
    """One line on standard error where the rows are not what the model was calibrated for."""
    from edge_runtime.input_range import range_warning

    text = range_warning(model, rows)
    if text is not None:
        click.echo(f"warning: {text}", err=True)


def echo(text: str, *, err: bool = False) -> None:
    """Print text that may hold names of files: what would steer the terminal, or cannot be printed, is escaped."""
    click.echo("".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text), err=err)


def echo_json(value: Any) -> None:
    """Print one JSON object. Control characters in it are escaped, those too that JSON itself would let through."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo("".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in text))


@click.group(cls=OneLineErrors, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run small networks with NumPy alone.

    NumPy's BLAS may use several threads, which small networks do not gain from. For one thread, set it before Python
    starts: OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m edge_runtime ...
    """


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@click.option("--input", "input_path", required=True, help="Rows to run: .npy, .npz, .csv, or - for standard input.")
@click.option("--output", "output_path", default="-", show_default=True, help=".npy, .csv, or - for standard output.")
@click.option("--classes", is_flag=True, help="Write the class of each row instead of all outputs.")
@force_option
@limit_options
@max_bytes_option
def run(
    model_path: str,
    input_path: str,
    output_path: str,
    classes: bool,
    force: bool,
    max_bytes: int | None,
    **limits: Any,
) -> None:
    """Run a model on rows of raw values.

    Example: smallnet run digits.int8.npz --input x.csv --output y.csv
    """
    from edge_runtime.engine import Engine
    from edge_runtime.outputs import check_rows_output
    from edge_runtime.rows import read_rows, write_rows

    check_rows_output(output_path, force=force, source=input_path)
    model, wanted = load_limited(model_path, max_bytes=max_bytes, **limits)
    engine = Engine(model, wanted)
    rows = read_rows(input_path, n_in=model.n_in, **cap(max_bytes))
    warn_of_range(model, rows)
    if classes:
        if model.metadata.get("target") in ("regression", "autoencoder"):
            raise click.UsageError("the model gives values and not classes; leave --classes out")
        write_rows(output_path, engine.predict(rows), class_names=model.class_names or None)
    else:
        write_rows(output_path, engine.run(rows), class_names=model.class_names or None)


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@max_bytes_option
@json_option
def inspect(model_path: str, max_bytes: int | None, as_json: bool) -> None:
    """Show a model's layers, memory and devices, and account for every byte of its file.

    Example: smallnet inspect build/digits.int8.npz
    """
    from edge_runtime.artifact import load
    from edge_runtime.device_profiles import devices, estimate
    from edge_runtime.inspection import describe
    from edge_runtime.tables import inspection_text

    facts = describe(model_path, **cap(max_bytes))
    model = load(model_path, **cap(max_bytes))
    facts["devices"] = [vars(estimate(model, name)) for name in devices()]
    if as_json:
        echo_json(facts)
    else:
        echo(inspection_text(facts))


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@limit_options
@max_bytes_option
@json_option
def selftest(model_path: str, as_json: bool, **limits: Any) -> None:
    """Replay the stored test vectors: does this machine compute what was tested? Exit status 1 if not.

    Example: smallnet selftest build/digits.int8.npz
    """
    from edge_runtime.replay import selftest as replay
    from edge_runtime.tables import selftest_text

    result = replay(*load_limited(model_path, **limits))
    if as_json:
        echo_json({**vars(result), "ok": result.ok})
    else:
        echo(selftest_text(result))
    if not result.ok:
        raise click.exceptions.Exit(1)


@main.command()
@click.argument("model_path", metavar="MODEL.npz")
@click.option("-o", "--out", default="app.pyz", show_default=True, help="The file to write.")
@force_option
@max_bytes_option
def bundle(model_path: str, out: str, force: bool, max_bytes: int | None) -> None:
    """Write one file that holds the runtime and the model, for a device with Python and NumPy alone.

    There: python app.pyz --selftest, python app.pyz --input x.csv

    Example: smallnet bundle build/digits.int8.npz -o app.pyz
    """
    from edge_runtime.bundle import write_bundle
    from edge_runtime.outputs import check_output

    check_output(out, "bundle", force=force, sources=[model_path])
    size = write_bundle(model_path, out, **cap(max_bytes))
    echo(f"wrote {out} ({size:,} bytes); try: python {out} --selftest")


@main.command("devices")
@click.argument("model_path", metavar="[MODEL.npz]", required=False)
@json_option
def devices_command(model_path: str | None, as_json: bool) -> None:
    """List the device profiles; with a model, which of them it fits and the time predicted for it.

    Example: smallnet devices build/digits.int8.npz
    """
    from edge_runtime.artifact import load
    from edge_runtime.device_profiles import devices, estimate
    from edge_runtime.tables import devices_table, fit_text

    profiles = devices()
    if model_path is None:
        facts, text = [vars(profile) for profile in profiles.values()], devices_table(profiles.values())
    else:
        model = load(model_path)
        facts = [vars(estimate(model, name)) for name in profiles]
        text = fit_text(facts)
    if as_json:
        echo_json(facts)
    else:
        click.echo(text)
