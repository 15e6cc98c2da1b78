"""Options that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from edge_runtime.console.wording import HELP
from edge_runtime.engine import BACKENDS, OVER_BATCH
from edge_runtime.files import parse_bytes

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from edge_runtime.engine import Limits
    from edge_runtime.model import Model

FILE = click.Path(readable=False)
"""A file or folder, for shells to complete; whether it can be read or written is found and said by what does it."""

force_option = click.option("--force", is_flag=True, help=HELP["force"])


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


max_bytes_option = click.option("--max-bytes", type=Size(), help=HELP["max-bytes"])


def cap(max_bytes: int | None) -> dict[str, Any]:
    """The argument of a reader that --max-bytes stands for; nothing where it was not given."""
    return {} if max_bytes is None else {"max_bytes": max_bytes}


json_option = click.option("--json", "as_json", is_flag=True, help=HELP["json"])
wide_option = click.option("--wide", is_flag=True, help="Print every column, however wide the terminal is.")


backend_option = click.option(
    "--backend", type=click.Choice(BACKENDS), default="numpy", show_default=True, help=HELP["backend"]
)

_MMAP_HELP = "Map the weights from the file instead of reading them, as a microcontroller runs from flash."


class DeviceName(click.ParamType):
    """The name of a device. Completed from the profiles, which are read only then; checked by `Limits`."""

    name = "NAME"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The devices whose names begin so."""
        from click.shell_completion import CompletionItem  # a shell asks for it, and nobody else

        return [CompletionItem(name) for name in _device_names() if name.startswith(incomplete)]


class _DeviceOption(click.Option):
    """An option whose help names the devices, which are read for it alone."""

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As any option's, and the names."""
        record = super().get_help_record(ctx)
        return record and (record[0], f"{record[1]} One of {', '.join(_device_names())}.")


def _device_names() -> list[str]:
    from edge_runtime.device_profiles import devices

    return list(devices())


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `load_limited` takes, for every command that runs a model."""
    over = click.Choice(OVER_BATCH)
    for option in (
        click.option("--mmap", is_flag=True, help=_MMAP_HELP),
        click.option("--lean", is_flag=True, help=HELP["lean"]),
        click.option("--over-batch", "over", type=over, default="split", show_default=True, help=HELP["over-batch"]),
        click.option("--max-batch", type=int, metavar="N", help=HELP["max-batch"]),
        click.option(
            "--speed-factor", type=float, metavar="N", default=1.0, show_default=True, help=HELP["speed-factor"]
        ),
        click.option("--device", type=DeviceName(), cls=_DeviceOption, help=HELP["device"]),
        click.option("--flash-bytes", type=Size(), help=HELP["flash-bytes"]),
        click.option("--ram-bytes", type=Size(), help=HELP["ram-bytes"]),
    ):
        command = option(command)
    return command


def load_limited(path: str, *, mmap: bool, max_bytes: int | None, **limits: Any) -> tuple[Model, Limits]:
    """The model in an artifact and the limits to run it under: the values of `max_bytes_option`, `limit_options`."""
    from edge_runtime.artifact import load
    from edge_runtime.engine import Limits

    wanted = Limits(**limits)
    return load(path, mmap=mmap, **cap(max_bytes)), wanted
