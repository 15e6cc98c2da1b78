from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Model
from edge_runtime.engine.engine import Engine
from export.onnx_writer.activation_tables import entry_range, is_its_function
from export.onnx_writer.writer import to_onnx, write_onnx
from export.quantization.quantizer import quantize
from export.verification.onnx_session import make_session
from export.verification.verify import verify
from tests.networks import random_model, random_rows

ROWS = random_rows(300, 13, seed=3)
FUNCTIONS = ["sigmoid", "tanh", "elu", "gelu", "swish", "softplus", "mish", "hard_swish", "hard_sigmoid"]


def network(activation, table=None, name=None):
    """int8, with a table after the first layer: its own, or another one under another name."""
    model = quantize(random_model([13, 11, 5], [activation, "linear"]), random_rows(200, 13))
    first = model.layers[0]
    first = replace(first, table=first.table if table is None else table, activation=Activation.of(name or activation))
    return replace(model, layers=(first, model.layers[1]))


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_a_table_that_the_quantizer_made_is_its_function(activation):
    """Its entries lie within what the function may give, and an entry away from a tie can be no other."""
    layer = network(activation).layers[0]
    assert is_its_function(layer)
    low, high = entry_range(layer)
    assert ((low <= layer.table) & (layer.table <= high)).all()
    assert (low == high).mean() > 0.95


@pytest.mark.parametrize("name", ["linear", "tanh", "sigmoid"])
@pytest.mark.parametrize("table", ["step", "reversed", "one entry"])
def test_a_table_that_is_no_function_is_written_as_it_is(tmp_path, table, name):
    """In the qdq form too, whatever activation the layer names: the file computes what the engine computes."""
    own = network("tanh").layers[0].table
    step = np.where(np.arange(256) < 128, 20, 230).astype(np.uint8)
    one = own.copy()
    one[128] = 255 - one[128] // 2
    model = network("tanh", {"step": step, "reversed": own[::-1].copy(), "one entry": one}[table], name)
    assert not is_its_function(model.layers[0])
    proto = to_onnx(model, "qdq")
    assert "Gather" in [node.op_type for node in proto.graph.node]
    found = make_session(proto).run(None, {"input": ROWS})[0]
    write_onnx(model, tmp_path / "m.onnx", "qdq")
    assert verify(model, tmp_path / "m.onnx", ROWS).ok
    expected = Engine(model).run(ROWS)
    assert np.mean(np.abs(found - expected) < 1e-4) > 0.99


def test_a_table_left_out_of_a_file_is_found(tmp_path):
    """The file of the same network without its table fails, though the table jumps by 210 steps at one place."""
    step = np.where(np.arange(256) < 128, 20, 230).astype(np.uint8)
    first, last = network("tanh", step, "linear").layers
    last = replace(last, input=first.output)  # one grid on both sides of the table, so that both networks are valid
    model = Model((replace(first, table_output=first.output), last))
    without = Model((replace(first, table=None, table_output=None), last))
    write_onnx(without, tmp_path / "m.onnx", "qdq")
    assert not verify(model, tmp_path / "m.onnx", ROWS).ok
