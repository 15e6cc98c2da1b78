"""Tables of functions beside onnxruntime's: each entry is the same, or beside a tie that is known."""

import numpy as np
import onnx
import pytest

from edge_runtime import Model
from edge_runtime.layers import Dense
from edge_runtime.numerics import QMAX, Activation, QuantParams, dequantize, quantize
from export.onnx_reader.layers.table import CodeTable, table_of
from export.onnx_reader.reader import import_onnx
from export.onnx_reader.steps import Affine
from export.onnx_writer.writer import to_onnx
from export.verification.onnx_session import make_session
from tests.export.foreign import graph
from tests.opsets import newest_opset

RANGES = {
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softplus": (0.0, 6.0),
    "softsign": (-1.0, 1.0),
    "elu": (-1.0, 4.0),
    "celu": (-1.0, 4.0),
    "selu": (-1.8, 4.0),
    "mish": (-0.4, 4.0),
    "gelu": (-0.2, 4.0),
    "gelu_tanh": (-0.2, 4.0),
    "swish": (-0.3, 4.0),
    "hard_swish": (-0.4, 4.0),
    "hard_sigmoid": (0.0, 1.0),
    "leaky_relu": (-0.1, 4.0),
}
CODES = np.arange(QMAX + 1, dtype=np.uint8)


def grids(rng, low, high):
    """A grid before a function and one after it, as calibration would choose them; every third after it very fine."""
    before = QuantParams(float(np.float32(rng.uniform(0.5, 10) * 2 / 255)), int(rng.integers(100, 156)))
    step = float(np.float32((high - low) / 255 * rng.uniform(0.6, 1) * rng.choice([1, 1, 1 / 64])))
    return before, QuantParams(step, int(np.clip(round(-low / step), 0, 255)))


@pytest.mark.parametrize("name", RANGES)
def test_each_entry_of_onnxruntimes_table_is_ours_or_a_known_tie(name):
    """On 2,000 pairs of grids; entries that engines surely round alike are most of them."""
    function = Activation.of(name)
    layer = Dense("dense0", np.ones((1, 1), np.float32), np.zeros(1, np.float32), function)
    session = make_session(to_onnx(Model((layer,)), opset=newest_opset()))
    rng = np.random.default_rng(1)
    pairs = [grids(rng, *RANGES[name]) for _ in range(2000)]
    values = np.concatenate([dequantize(CODES, before) for before, _after in pairs])
    found = session.run(None, {session.get_inputs()[0].name: values[:, None]})[0].ravel()
    theirs = np.split(found, len(pairs))
    beside = 0
    for (before, after), real in zip(pairs, theirs, strict=True):
        table = table_of([function], before, after)
        ties = table.ties()
        found = quantize(real, after)
        for code in np.flatnonzero(found != table.entries):
            assert (int(code), int(found[code])) in ties, (before, after, code)
        beside += len(ties)
    assert beside < 0.02 * 256 * len(pairs)


def test_a_map_that_cancels_is_as_far_off_as_its_terms():
    """72 steps minus nearly as much: two roundings of numbers that large, in steps of what is left; else nothing."""
    before, after = QuantParams(2.0**-4, 128), QuantParams(2.0**-22, 100)
    table = table_of([Affine(np.array(1.0), np.array(-72 * 2.0**-4))], before, after)
    assert (table.low[200], table.entries[200], table.high[200]) == (91, 100, 109)  # 9 = 2 * 72 / 16
    assert table_of([Affine(np.array(0.5), np.array(0.0))], before, QuantParams(2.0**-6, 128)).ties() == set()


def test_the_ties_of_an_entry_are_its_neighbours_and_its_ends():
    """And none where every engine rounds alike, however far the ends are apart."""
    entries, low, high = (np.full(256, value, np.uint8) for value in (10, 10, 10))
    assert CodeTable(entries, low, high).ties() == set()
    low[3], high[3], high[7] = 9, 10, 200
    assert CodeTable(entries, low, high).ties() == {(3, 9), (7, 11), (7, 200)}


def test_a_value_that_is_rounded_on_the_way_may_fall_either_way(tmp_path):
    """x * sigmoid(x), each put on a grid: where the sigmoid stands on a tie, the product is a step of it off."""
    step = np.float32(np.log((0.5 + 1 / 512) / (0.5 - 1 / 512)))  # the sigmoid of one step is 128.5 / 256
    nodes = (
        "w = DequantizeLinear(v, u) a = QuantizeLinear(x, s, z) b = DequantizeLinear(a, s, z) h = MatMul(b, w) "
        "c = QuantizeLinear(h, s, z) d = DequantizeLinear(c, s, z) e = Sigmoid(d) f = QuantizeLinear(e, g, o) "
        "i = DequantizeLinear(f, g, o) m = Mul(d, i) n = QuantizeLinear(m, p, o) k = DequantizeLinear(n, p, o) "
        "y = MatMul(k, w)"
    )
    constants = {"v": np.int8([[1]]), "u": np.float32(1), "z": np.uint8(128), "o": np.uint8(0)}
    constants |= {"s": step, "g": np.float32(1 / 256), "p": np.float32(step / 200)}
    onnx.save(graph(nodes, 17, "float[N,1] x", "float[N,1] y", **constants), tmp_path / "m.onnx")
    found = import_onnx(tmp_path / "m.onnx")
    assert found.model.layers[0].table[129] in (100, 101)  # 200 times 128 / 256 or 129 / 256
    assert ("dense0", 129, 201 - found.model.layers[0].table[129]) in found.ties
