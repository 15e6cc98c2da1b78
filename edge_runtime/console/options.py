"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.engine import OVER_BATCH
from edge_runtime.files import parse_bytes

if TYPE_CHECKING:
    from edge_runtime.engine import Limits
    from edge_runtime.model import Model

force_option = click.option("--force", is_flag=True, help="Replace an output file even where it is something else.")


class Size(click.ParamType):
    """A number of bytes such as 1000000, 512K, 64M or 2G, in powers of 1024; at least `least`."""

    name = "BYTES"

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """The bytes; fails for anything but a whole number and one letter."""
        try:
            return parse_bytes(str(value), self.least)
        except ValueError as error:
            self.fail(str(error), param, ctx)


max_bytes_option = click.option(
    "--max-bytes", type=Size(), help="Largest file to read, such as 2G (default: 256M for a model, 1G for data)."
)


def cap(max_bytes: int | None) -> dict[str, Any]:
    """The argument of a reader that --max-bytes stands for; nothing where it was not given."""
    return {} if max_bytes is None else {"max_bytes": max_bytes}


def one_of(names: Sequence[str]) -> str:
    """How a help text shows an option that takes one of `names`; what it is given is checked where it is used."""
    return f"[{'|'.join(names)}]"


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")


_LEAN_HELP = "Widen int8 and float16 weights at each run, even where there is memory for float copies."
_MMAP_HELP = "Map the weights from the file instead of reading them, as a microcontroller runs from flash."
_OVER_HELP = "More rows than --max-batch: run them part by part, or refuse them."
_DEVICE_HELP = "Keep the RAM and flash of this device; see 'smallnet devices'. Its speed is predicted, not kept."


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `load_limited` takes, for every command that runs a model."""
    for option in (
        click.option("--mmap", is_flag=True, help=_MMAP_HELP),
        click.option("--lean", is_flag=True, help=_LEAN_HELP),
        click.option(
            "--over-batch", "over", metavar=one_of(OVER_BATCH), default="split", show_default=True, help=_OVER_HELP
        ),
        click.option("--max-batch", type=int, help="Rows sent through the network together."),
        click.option(
            "--speed-factor", type=float, default=1.0, show_default=True, help="Make each run take N x as long."
        ),
        click.option("--device", metavar="NAME", help=_DEVICE_HELP),
        click.option("--flash-bytes", type=Size(), help="Refuse an artifact that is larger than this."),
        click.option("--ram-bytes", type=Size(), help="Refuse to run in more memory than this, such as 64K."),
    ):
        command = option(command)
    return command


def load_limited(path: str, *, mmap: bool, max_bytes: int | None, **limits: Any) -> tuple[Model, Limits]:
    """The model in an artifact and the limits to run it under: the values of `max_bytes_option`, `limit_options`."""
    from edge_runtime.artifact import load
    from edge_runtime.engine import Limits

    wanted = Limits(**limits)
    return load(path, mmap=mmap, **cap(max_bytes)), wanted
