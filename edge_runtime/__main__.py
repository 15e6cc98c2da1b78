"""`python -m edge_runtime`: the commands a device needs."""

from edge_runtime.cli import main

main(prog_name="python -m edge_runtime")
