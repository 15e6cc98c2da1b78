"""`python -m export`: the `smallnet` command, where its script is not on the path."""

from export.cli import main

main(prog_name="smallnet")
