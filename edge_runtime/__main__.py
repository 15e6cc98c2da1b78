"""`python -m edge_runtime`: the commands a device needs."""

import os

try:
    from edge_runtime.console import start
except KeyboardInterrupt:  # see there; it is not yet loaded
    os._exit(130)

start("edge_runtime.console.cli", "python -m edge_runtime")
