"""The `smallnet` command, and `python -m export` where its script is not on the path."""

from edge_runtime.entry import start


def main() -> None:
    """Run the command line."""
    start("export.cli", "smallnet")


if __name__ == "__main__":
    main()
