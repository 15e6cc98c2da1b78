"""`python -m edge_runtime`: the commands a device needs."""

from edge_runtime.entry import start

start("edge_runtime.cli", "python -m edge_runtime")
