"""Models for the tests of C."""

from dataclasses import replace

from edge_runtime import TestVectors
from export import quantize
from tests.host_c import reference_logits
from tests.networks import random_model, random_rows

OFFSET = 1700000000.125
OFFSET_SCHEMA = f'{{"columns": [{{"name": "time", "offset": {OFFSET}}}, "<width>", "height"]}}'


def int8_model(sizes=(13, 9, 7, 5), hidden="relu", final="softmax", vectors=4, **changes):
    """A quantized model with test vectors; changes: of its fields."""
    model = random_model(sizes, [hidden] * (len(sizes) - 2) + [final], standardize=True)
    rows = random_rows(80, sizes[0])
    small = quantize(replace(model, **changes), rows, "int8")
    return small.with_test_vectors(TestVectors(rows[:vectors], reference_logits(small, rows[:vectors])))
