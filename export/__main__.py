"""The `smallnet` command, and `python -m export` where its script is not on the path."""

import os

try:
    from edge_runtime.console import start
except KeyboardInterrupt:  # see there; it is not yet loaded
    os._exit(130)


def main() -> None:
    """Run the command line."""
    start("export.commands.cli", "smallnet")


if __name__ == "__main__":
    main()
