"""The version of the project, stated once, and what made an artifact."""

from __future__ import annotations

import sys

__version__ = "0.1.0"
MADE_WITH = "made_with"  # the entry of a model's metadata


def made_with() -> dict[str, str]:
    """The metadata entry that says which versions made a model: the same text in every run of one installation."""
    import numpy as np  # not at the top: a command line asks for the version before NumPy is loaded

    python = ".".join(map(str, sys.version_info[:3]))
    return {MADE_WITH: f"smallnet {__version__}, numpy {np.__version__}, python {python}"}
