"""Networks whose layers have precisions of their own, made of one calibration."""

from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.model import Model
from export.quantization.mixes import Mixes
from export.quantization.quantizer import float_source, quantize
from export.quantization.recipe import INTEGERS, Switches
from tests.networks import random_model, random_rows


def uneven_model():
    """Units of ranges that differ, with which equalization by grids and by weights give other factors."""
    model = random_model([12, 16, 16, 4], ["relu", "relu", "linear"], seed=3)
    first = model.layers[0]
    wide = np.geomspace(0.05, 20, first.n_out).astype(np.float32)
    return Model((replace(first, weight=first.weight * wide, bias=first.bias * wide), *model.layers[1:]))


@pytest.mark.parametrize("precision", INTEGERS)
def test_a_whole_network_is_the_one_that_quantize_makes(precision):
    """Bit by bit: each precision has its own way of equalization, whichever of them was made before it."""
    model, rows = uneven_model(), random_rows(300, 12)
    mixes = Mixes(float_source(model), rows, Switches(equalization=True))
    for other in INTEGERS:
        mixes.uniform(other)
    found = mixes.uniform(precision).model
    wanted = quantize(model, rows, precision, equalization=True, test_vectors=0)
    for ours, theirs in zip(found.layers, wanted.layers, strict=True):
        for name, array in ours.arrays().items():
            assert array.tobytes() == theirs.arrays()[name].tobytes(), (ours.name, name)
