"""The commands of a device and of a bundle, and what every command line shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edge_runtime.console.cli import COMMANDS
    from edge_runtime.console.click_group import LazyCommands, OneLineErrors, Place
    from edge_runtime.console.entry import start
    from edge_runtime.console.exit_status import explain
    from edge_runtime.console.messages import (
        echo,
        echo_json,
        is_quiet,
        note,
        say,
        say_fallback,
        verdict_width,
        warn,
        width_for,
        wrapped,
    )
    from edge_runtime.console.options import (
        FILE,
        Size,
        backend_option,
        cap,
        force_option,
        json_option,
        limit_options,
        load_limited,
        max_bytes_option,
        wide_option,
    )
    from edge_runtime.console.output_files import check_folder, check_output, is_same_file, refuse_inputs
    from edge_runtime.console.progress import Progress
    from edge_runtime.console.reports import bench_table, in_units
    from edge_runtime.console.typed import typed_path, typed_program

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "cli": ("COMMANDS",),
        "click_group": ("LazyCommands", "OneLineErrors", "Place"),
        "entry": ("start",),
        "exit_status": ("explain",),
        "messages": (
            "echo",
            "echo_json",
            "is_quiet",
            "note",
            "say",
            "say_fallback",
            "verdict_width",
            "warn",
            "width_for",
            "wrapped",
        ),
        "options": (
            "FILE",
            "Size",
            "backend_option",
            "cap",
            "force_option",
            "json_option",
            "limit_options",
            "load_limited",
            "max_bytes_option",
            "wide_option",
        ),
        "output_files": ("check_folder", "check_output", "is_same_file", "refuse_inputs"),
        "progress": ("Progress",),
        "reports": ("bench_table", "in_units"),
        "typed": ("typed_path", "typed_program"),
    },
)
