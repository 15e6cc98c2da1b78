"""`python -m edge_runtime`: the commands of a device, by name. Each is loaded when it runs: help answers at once."""

from __future__ import annotations

import click

from edge_runtime.console.click_group import LazyCommands, Place

_HOME = "edge_runtime.console.commands"
# name: where its function stands, and what the list of commands says of it
COMMANDS = {
    "run": Place(_HOME, "run", "Run a model on rows of raw values."),
    "inspect": Place(_HOME, "inspect", "Show layers, memory, devices, and where each byte of a file goes."),
    "selftest": Place(_HOME, "selftest_command", "Replay the stored test vectors: is this what was tested?"),
    "devices": Place(_HOME, "devices_command", "List the known devices, or those that a model fits."),
    "bundle": Place(_HOME, "bundle", "Write one file that runs wherever Python and NumPy are."),
}


@click.group(cls=LazyCommands, places=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run small networks with NumPy alone."""
