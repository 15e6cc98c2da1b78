"""The commands of a device and of a bundle, and what every command line shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edge_runtime.console.cli import COMMANDS
    from edge_runtime.console.click_group import LazyCommands, OneLineErrors, Place
    from edge_runtime.console.entry import start
    from edge_runtime.console.options import (
        Size,
        cap,
        force_option,
        json_option,
        limit_options,
        load_limited,
        max_bytes_option,
        one_of,
    )
    from edge_runtime.console.output_files import check_folder, check_output, is_same_file, refuse_inputs
    from edge_runtime.console.progress import CallsDone, RowsDone, echo, echo_json, say
    from edge_runtime.console.reports import bench_table
    from edge_runtime.console.typed import typed_path, typed_program

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "cli": ("COMMANDS",),
        "click_group": ("LazyCommands", "OneLineErrors", "Place"),
        "entry": ("start",),
        "options": (
            "Size",
            "cap",
            "force_option",
            "json_option",
            "limit_options",
            "load_limited",
            "max_bytes_option",
            "one_of",
        ),
        "output_files": ("check_folder", "check_output", "is_same_file", "refuse_inputs"),
        "progress": ("CallsDone", "RowsDone", "echo", "echo_json", "say"),
        "reports": ("bench_table",),
        "typed": ("typed_path", "typed_program"),
    },
)

__all__ = [
    "COMMANDS",
    "CallsDone",
    "LazyCommands",
    "OneLineErrors",
    "Place",
    "RowsDone",
    "Size",
    "bench_table",
    "cap",
    "check_folder",
    "check_output",
    "echo",
    "echo_json",
    "force_option",
    "is_same_file",
    "refuse_inputs",
    "json_option",
    "limit_options",
    "load_limited",
    "max_bytes_option",
    "one_of",
    "say",
    "start",
    "typed_path",
    "typed_program",
]
