import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edge_runtime import Engine, Limits, Model, QuantizationError, QuantizedDense, QuantParams
from export.onnx_writer.int8_forms import FORMS
from export.onnx_writer.writer import to_onnx, write_onnx
from export.quantization.fidelity import sqnr_db
from export.quantization.quantizer import quantize
from export.verification.onnx_session import make_session
from export.verification.verify import verify
from tests.networks import random_model, random_rows

ACTIVATIONS = [["relu", "softmax"], ["sigmoid", "tanh", "linear"], ["leaky_relu", "linear", "sigmoid"]]


def small(activations, precision="int8", seed=0):
    model = random_model(
        [13, *([11] * (len(activations) - 1)), 5], activations, seed, standardize=True, weight_scale=1.4
    )
    return quantize(model, random_rows(200, 13), precision)


@pytest.mark.parametrize("activations", ACTIVATIONS, ids=lambda names: names[0])
@pytest.mark.parametrize("form", FORMS)
def test_each_form_keeps_its_rule(tmp_path, form, activations):
    """integer and qgemm: the same bits. qdq: each integer within a step of the exact one for the same input."""
    model = small(activations)
    write_onnx(model, tmp_path / "m.onnx", form)
    report = verify(model, tmp_path / "m.onnx", random_rows(300, 13, seed=3) * 2)
    assert report.form == form
    assert report.ok, report.first_diverging_layer
    rules = {check.rule for check in report.checks if check.tensor.startswith("dense0.output")}
    assert rules == ({"within one step"} if form == "qdq" else {"same bits"})


@pytest.mark.parametrize("form", FORMS)
def test_a_wrong_weight_is_found_in_each_form(tmp_path, form):
    """Ten steps in one weight of the second layer break that layer's rule and none before it."""
    model = small(["relu", "relu", "softmax"])
    proto = to_onnx(model, form)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense1.weight")
    weight = numpy_helper.to_array(tensor).copy()
    weight[0] = weight[0] + 10 if weight[0].max() < 100 else weight[0] - 10
    tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    report = verify(model, tmp_path / "m.onnx", random_rows(100, 13))
    assert report.first_diverging_layer.startswith("dense1.")


def test_qdq_scales_are_those_of_the_integers():
    """weight x its scale is the float weight to half a step, in the layout that TensorRT and OpenVINO expect."""
    float_model = random_model([13, 11, 5], ["relu", "softmax"])
    proto = to_onnx(quantize(float_model, random_rows(200, 13), "int8", "minmax"), "qdq")
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    weight, scale = tensors["dense0.weight"], tensors["dense0.weight_scale"]
    assert weight.dtype == "int8"
    assert abs(weight * scale - float_model.layers[0].weight).max() <= 0.51 * scale.max()
    kinds = [node.op_type for node in proto.graph.node]
    assert kinds.count("Gemm") == 2
    assert kinds.count("QuantizeLinear") == 2


@pytest.mark.parametrize("activations", ACTIVATIONS, ids=lambda names: names[0])
@pytest.mark.parametrize("opset", [13, 21])
def test_codes_of_more_than_8_bits_are_exact_in_the_integer_form(tmp_path, activations, opset):
    """uint16 tensors of the trace's names have the trace's codes; of NaN and infinities too."""
    model = small(activations, "int8-a16")
    assert model.precision == "int8-a16"
    write_onnx(model, tmp_path / "m.onnx", opset=opset)
    rows = random_rows(300, 13, seed=3) * 2
    rows[0, 0], rows[1, 3], rows[2, 1], rows[3] = np.nan, np.inf, -np.inf, np.nan
    report = verify(model, tmp_path / "m.onnx", rows)
    assert report.ok, report.first_diverging_layer
    rules = {check.tensor: check.rule for check in report.checks}
    for tensor in ("dense0.quantized_input", "dense0.accumulator", "dense0.output"):
        assert rules[tensor] == "same bits"


def test_a_wrong_byte_is_found(tmp_path):
    """A step in the zero point of the low bytes breaks the rule of its layer."""
    model = small(["relu", "relu", "softmax"], "int8-a16")
    proto = to_onnx(model)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense1.low_zero_point")
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) ^ np.uint8(1), tensor.name))
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    assert verify(model, tmp_path / "m.onnx", random_rows(99, 13)).first_diverging_layer.startswith("dense1.")


def test_sums_of_bytes_stay_within_int32():
    """For the largest code and the smallest, of weights at the limit of the certificate, whatever the zero point."""
    weight = np.full((257, 2), 127, np.int8)
    weight[:, 1] = -127
    for zero_point in (0, 32767, 65535):
        layer = QuantizedDense(
            name="a", weight=weight, bias=np.array([2**31 - 1 - 65535 * 257 * 127, 0], np.int32),
            multiplier=np.ones(2, np.float32), input=QuantParams(1.0, zero_point, 16), output=None, activation="linear",
        )  # fmt: skip
        assert layer.certificate == 2**31 - 1
        session = make_session(to_onnx(Model((layer,))).SerializeToString(), "disabled")
        rows = np.full((2, 257), -1e9, np.float32)
        rows[1] = 1e9
        np.testing.assert_array_equal(session.run(None, {"input": rows})[0], Engine(Model((layer,))).run(rows))


@pytest.mark.parametrize("form", ["qgemm", "qdq"])
def test_forms_of_8_bits_refuse_codes_of_more(form):
    """In words that name the layer and the form to take."""
    with pytest.raises(QuantizationError, match=r"layer 'dense0' has codes of more than 8 bits.*--form integer"):
        to_onnx(small(["relu", "linear"], "int8-a16"), form)


NEWEST = onnx.defs.onnx_opset_version()


@pytest.mark.parametrize("opset", sorted({min(opset, NEWEST) for opset in (13, 15, 19, 21, 23, NEWEST)}))
def test_the_opset_can_be_chosen(opset):
    """The file states it, passes the full checker, and its IR version is the lowest that goes with it."""
    proto = to_onnx(small(["relu", "softmax"]), opset=opset)
    assert proto.opset_import[0].version == opset
    assert proto.ir_version == max(8, onnx.helper.find_min_ir_version_for(proto.opset_import))


def test_unknown_forms_and_opsets_are_refused():
    """The message lists what there is."""
    with pytest.raises(QuantizationError, match="expected one of integer, qdq, qgemm"):
        to_onnx(small(["relu", "softmax"]), "qoperator")
    for opset in (12, 1000):
        with pytest.raises(QuantizationError, match=f"opset is {opset}, expected 13 to"):
            to_onnx(small(["relu", "softmax"]), opset=opset)


@pytest.mark.parametrize("activations", ACTIVATIONS, ids=lambda names: names[0])
def test_int8_dynamic_is_exact_layer_by_layer(tmp_path, activations):
    """No calibration; for the input that a layer is given, grid, sums and scaled values have the same bits."""
    model = small(activations, "int8-dynamic")
    write_onnx(model, tmp_path / "m.onnx")
    report = verify(model, tmp_path / "m.onnx", random_rows(300, 13) * 3)
    assert report.ok, report.first_diverging_layer
    assert report.exact_compared > 0


def test_int8_dynamic_needs_no_calibration_and_follows_the_float_network():
    """Signal to noise above 25 dB without having seen a row."""
    model = random_model([40, 30, 6], ["relu", "linear"], standardize=True)
    dynamic = quantize(model, precision="int8-dynamic")
    rows = random_rows(200, 40)
    assert sqnr_db(Engine(model).run(rows), Engine(dynamic).run(rows)) > 25


def test_a_row_of_an_int8_dynamic_model_depends_on_its_batch_as_the_help_says():
    """The same row beside a large one gets another answer: the batch sets the grid, however many rows run at once."""
    model = quantize(random_model([40, 30, 6], ["relu", "linear"]), precision="int8-dynamic")
    rows = random_rows(2, 40)
    alone = Engine(model).run(rows[:1])
    assert (Engine(model).run(rows * [[1.0], [50.0]])[:1] != alone).any()
    many = random_rows(300, 40)
    whole = Engine(model, Limits(max_batch=300)).run(many)
    assert (Engine(model).run(many) == whole).all()
