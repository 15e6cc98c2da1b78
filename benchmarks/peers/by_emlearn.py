"""`python by_emlearn.py NETWORK.npz FOLDER`: emlearn's C of a float network, by the Python that has it.

NETWORK.npz: n_layers, and for each layer floatK (n_in, n_out) and float_biasK (n_out,); ReLU between them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import emlearn
import numpy as np
from emlearn.net import c_generate_net_loadable


def main(network: str, folder: str) -> None:
    """Write net_emlearn.h, and copy nothing: prints where emlearn's headers are."""
    with np.load(network) as arrays:
        n_layers = int(arrays["n_layers"])
        weights = [arrays[f"float{k}"] for k in range(n_layers)]
        biases = [arrays[f"float_bias{k}"] for k in range(n_layers)]
    activations = ["relu"] * (n_layers - 1) + ["identity"]
    text = c_generate_net_loadable(activations, weights, biases, prefix="peer")
    Path(folder, "net_emlearn.h").write_text(text, encoding="utf-8")
    print(Path(emlearn.__file__).parent)


if __name__ == "__main__":
    main(*sys.argv[1:])
