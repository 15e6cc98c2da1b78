"""How much of a signal survives: signal to quantization noise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def sqnr_db(reference: NDArray[Any], found: NDArray[Any]) -> float:
    """10 log10(sum reference^2 / sum (found - reference)^2) in decibels; inf where nothing differs.

    6 dB are one bit. -inf where the reference is 0 and something differs.
    """
    signal = float(np.sum(np.square(reference.astype(np.float64))))
    noise = float(np.sum(np.square(found.astype(np.float64) - reference)))
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0 else -math.inf
