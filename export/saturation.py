"""Which int8 weights are safe on x86 processors that add pairs of products in 16 bits.

Without VNNI, uint8 x int8 products go through an instruction (VPMADDUBSW) that adds two neighbouring products and
saturates the sum to int16. Whether that can happen is decided by the weights alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.quantization import QMAX

_INT16_MAX, _INT16_MIN = 32767, -32768


def is_pair_safe(weight: NDArray[np.int8]) -> bool:
    """Whether no pair (weight[2i, j], weight[2i + 1, j]) can saturate, whatever its two uint8 inputs are.

    weight: int8 (n_in, n_out). The extremes of q0 * w0 + q1 * w1 are 255 times the sum of the positive weights and 255
    times the sum of the negative ones.
    """
    n_in, n_out = weight.shape
    padded = np.zeros((n_in + n_in % 2, n_out), np.int32)
    padded[:n_in] = weight
    pairs = padded.reshape(-1, 2, n_out)
    highest = QMAX * np.maximum(pairs, 0).sum(axis=1)
    lowest = QMAX * np.minimum(pairs, 0).sum(axis=1)
    return bool(highest.max() <= _INT16_MAX and lowest.min() >= _INT16_MIN)
