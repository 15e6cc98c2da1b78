import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_runtime import ArtifactError
from export.onnx_writer.writer import to_onnx
from export.quantization.quantizer import quantize
from export.verification.onnx_session import make_session
from export.verification.verify import verify
from tests.networks import random_model, random_rows

WRITTEN = [
    (precision, form, activations)
    for precision, form in [("float32", "integer"), ("float16", "integer"), ("int8-dynamic", "integer")]
    + [("int8", form) for form in ("integer", "qgemm", "qdq")]
    for activations in (["relu", "relu", "sigmoid"], ["tanh", "sigmoid", "softmax"], ["leaky_relu", "elu", "linear"])
]
OTHER = {"Relu": "Abs", "Sigmoid": "HardSigmoid", "Tanh": "Sigmoid", "Softmax": "LogSoftmax", "Elu": "Selu"}
ROWS = random_rows(200, 9, seed=5) * 2


def written(precision, form, activations, seed=0):
    """A network of three layers, two of them of one shape, and its graph."""
    model = random_model([9, 9, 9, 5], activations, seed, standardize=True, weight_scale=1.4, bias_scale=0.5)
    small = quantize(model, random_rows(200, 9), precision)
    return small, to_onnx(small, form)


def copied(proto):
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy


def mutants(proto, seed):
    """Files that differ in one thing: an entry of a constant, an operator, an attribute, or two layers' places."""
    rng = np.random.default_rng(seed)
    for index, tensor in enumerate(proto.graph.initializer):
        values = numpy_helper.to_array(tensor).copy()
        flat = values.reshape(-1)
        place = rng.integers(flat.size)
        if values.dtype.kind == "f":
            flat[place] = flat[place] * values.dtype.type(1.1)
        else:
            room = (
                8 if tensor.name.endswith((".bias", ".bias_zero_point")) else 1
            )  # of a bias, a unit may be less than real sums round by
            flat[place] = int(flat[place]) + (room if flat[place] < 100 else -room)
        copy = copied(proto)
        copy.graph.initializer[index].CopyFrom(numpy_helper.from_array(values, tensor.name))
        yield f"{tensor.name}[{place}]", copy
    for index, node in enumerate(proto.graph.node):
        if node.op_type in OTHER:
            copy = copied(proto)
            del copy.graph.node[index].attribute[:]
            copy.graph.node[index].op_type = OTHER[node.op_type]
            yield f"{node.name}: {node.op_type} -> {OTHER[node.op_type]}", copy
        if node.op_type in ("Gemm", "LeakyRelu", "Elu"):
            copy = copied(proto)
            del copy.graph.node[index].attribute[:]
            copy.graph.node[index].attribute.append(helper.make_attribute("alpha", 0.7))
            yield f"{node.name}: alpha", copy
    copy = copied(proto)
    swapped = {"dense0.weight": "dense1.weight", "dense1.weight": "dense0.weight"}
    for tensor in copy.graph.initializer:
        tensor.name = swapped.get(tensor.name, tensor.name)
    yield "layers swapped", copy


def outputs(proto):
    """What the file gives at both levels; None if onnxruntime refuses it."""
    found = []
    for level in ("default", "disabled"):
        try:
            found.append(make_session(proto, level).run(None, {"input": ROWS})[0])
        except Exception:
            return None
    return found


def passes(model, proto, path):
    path.write_bytes(proto.SerializeToString())
    try:
        return verify(model, path, ROWS).ok
    except ArtifactError:
        return False


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("precision", "form", "activations"), WRITTEN)
def test_whatever_is_changed_in_a_written_file_is_found(tmp_path, precision, form, activations, seed):
    """A changed constant, operator, attribute or order of layers fails, or changes no bit of any output."""
    model, proto = written(precision, form, activations, seed)
    assert passes(model, proto, tmp_path / "m.onnx")
    before, missed, caught = outputs(proto), [], 0
    for what, mutant in mutants(proto, seed):
        if not passes(model, mutant, tmp_path / "m.onnx"):
            caught += 1
            continue
        after = outputs(mutant)
        if any((a.view(np.uint32) != b.view(np.uint32)).any() for a, b in zip(before, after, strict=True)):
            missed.append(what)
    assert not missed
    assert caught >= 10
