"""onnx's own cases for the operators that the reader supports: each passes, or is refused by design.

A case gives one node's inputs and outputs. The first input stays the graph's input, the others become constants. What
the reader then makes of the node is compared with the outputs that onnx expects.
"""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_runtime.errors import ArtifactError
from edge_runtime.reference.bounds import output_bound
from edge_runtime.reference.trace import trace
from export.onnx_reader.reader import import_onnx

_OPERATORS = """
    Gemm MatMul Add Sub Mul Div Neg Sum Max Min Pow Relu LeakyRelu PRelu Elu Selu Celu Gelu Softplus Softsign
    Sigmoid HardSigmoid HardSwish Swish Mish Tanh Clip ThresholdedRelu Abs Softmax LogSoftmax BatchNormalization
    Dropout Identity Cast Transpose Reshape Flatten Squeeze Unsqueeze ArgMax QuantizeLinear DequantizeLinear
    QLinearMatMul MatMulInteger DynamicQuantizeLinear Scaler Binarizer ArrayFeatureExtractor LabelEncoder
    Normalizer Gather Slice Split Concat Expand Exp Erf Sin Cos Shrink
"""
OPERATORS = _OPERATORS.split()


def _opset(model) -> int:
    """The version of the standard domain; those of other domains count differently, so they are the newest here."""
    return min((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=99)


def cases() -> dict[str, object]:
    """The single-node cases of those operators, by name; those of what a node expands to are the same again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        found = collect_testcases(None)  # onnx before 1.19 insists on an argument; None is all
    return {
        case.name: case
        for case in found
        if len(case.model.graph.node) == 1
        and case.model.graph.node[0].op_type in OPERATORS
        and "_expanded" not in case.name
        and _opset(case.model) >= 6  # older onnx keeps some cases in opset 1, which the reader refuses
        and not case.name.startswith("test_cast")  # nearly all are of types that no dense network has
    }


# These make no layer by themselves: a LeakyRelu after them does.
_MOVING = """
    Add Sub Mul Div Neg Sum Identity Dropout Transpose Reshape Flatten Squeeze Unsqueeze Gather Slice Split Expand
    Concat BatchNormalization Scaler
"""
MOVING = _MOVING.split()
CASES = cases()
# Part of the reason: the cases that are refused for it. Everything else in CASES gives onnx's own outputs.
REFUSED_BY_DESIGN = {
    "element type": """
        ai_onnx_ml_label_encoder_string_int ai_onnx_ml_label_encoder_string_int_no_default
        ai_onnx_ml_label_encoder_tensor_mapping ai_onnx_ml_label_encoder_tensor_value_only_mapping
        dequantizelinear_e4m3fn dequantizelinear_e4m3fn_float16 dequantizelinear_e4m3fn_zero_point
        dequantizelinear_e5m2 dequantizelinear_float4e2m1 dequantizelinear_int2 dequantizelinear_int4
        dequantizelinear_uint2 dequantizelinear_uint4 quantizelinear_e4m3fn quantizelinear_e5m2
        quantizelinear_float4e2m1 quantizelinear_int2 quantizelinear_uint2
    """,
    "expected float32, float64": """
        add_int16 add_uint16 add_uint32 add_uint64 celu_bfloat16 dequantizelinear_int16 dequantizelinear_uint16
        div_int16 div_uint16 div_uint32 div_uint64 max_int16 max_uint16 max_uint32 max_uint64 min_int16 min_uint16
        min_uint32 min_uint64 mul_int16 mul_uint16 mul_uint32 mul_uint64 sub_int16 sub_uint16 sub_uint32 sub_uint64
    """,
    "it leaves no features over": """
        slice_start_out_of_bounds
    """,
    "is no tensor": """
        identity_opt identity_sequence
    """,
    "it computes with int32 numbers, expected a Cast to float first": """
        div_int32_trunc max_int32 min_int32 pow_types_int32_float32 pow_types_int32_int32
    """,
    "it computes with int64 numbers, expected a Cast to float first": """
        max_int64 min_int64 pow_types_int64_float32 pow_types_int64_int64
    """,
    "it computes with int8 numbers, expected a Cast to float first": """
        add_int8 clip_default_int8_max clip_default_int8_min div_int8 max_int8 min_int8 mul_int8 sub_int8
    """,
    "it computes with uint8 numbers, expected a Cast to float first": """
        add_uint8 div_uint8 max_uint8 min_uint8 mul_uint8 sub_uint8
    """,
    "it does not work on whole rows": """
        argmax_default_axis_example argmax_default_axis_random argmax_keepdims_random
        argmax_negative_axis_keepdims_random argmax_no_keepdims_random logsoftmax_axis_0 logsoftmax_axis_1
        logsoftmax_axis_2 logsoftmax_default_axis logsoftmax_negative_axis softmax_axis_0 softmax_axis_1
        softmax_axis_2 softmax_default_axis softmax_negative_axis
    """,
    "do not fit 3 places": """
        split_zero_size_splits_opset13 split_zero_size_splits_opset18
    """,
    "it has a scale for each block": """
        dequantizelinear_blocked
    """,
    "it is in training mode": """
        batchnorm_epsilon_training_mode batchnorm_example_training_mode training_dropout training_dropout_default
        training_dropout_default_mask training_dropout_mask training_dropout_zero_ratio
        training_dropout_zero_ratio_mask
    """,
    "it joins branches": """
        concat_1d_axis_0 concat_1d_axis_negative_1 concat_2d_axis_0 concat_2d_axis_1 concat_2d_axis_negative_1
        concat_2d_axis_negative_2 concat_3d_axis_0 concat_3d_axis_1 concat_3d_axis_2 concat_3d_axis_negative_1
        concat_3d_axis_negative_2 concat_3d_axis_negative_3
    """,
    "it quantizes to": """
        quantizelinear_int16 quantizelinear_uint16
    """,
    "it sums over the rows of the batch": """
        gemm_all_attributes gemm_transposeA
    """,
    "it takes the last of equal values, expected the first": """
        argmax_default_axis_example_select_last_index argmax_default_axis_random_select_last_index
        argmax_keepdims_example_select_last_index argmax_keepdims_random_select_last_index
        argmax_negative_axis_keepdims_example_select_last_index
        argmax_negative_axis_keepdims_random_select_last_index argmax_no_keepdims_example_select_last_index
        argmax_no_keepdims_random_select_last_index
    """,
    "it uses the codes of a quantized tensor as numbers": """
        dequantizelinear matmulinteger qlinearmatmul_2D_int8_float16 qlinearmatmul_2D_int8_float32
        qlinearmatmul_2D_uint8_float16 qlinearmatmul_2D_uint8_float32
    """,
    "its constant has different values for different features, which Pow may not have": """
        pow pow_bcast_array pow_example pow_types_float32_int32 pow_types_float32_int64 pow_types_float32_uint32
        pow_types_float32_uint64
    """,
    "its constant of shape": """
        gemm_default_matrix_bias
    """,
    "its scale is not one constant for the whole tensor": """
        quantizelinear_int4 quantizelinear_uint4
        dequantizelinear_axis quantizelinear_axis quantizelinear_blocked_asymmetric
        quantizelinear_blocked_symmetric
    """,
    "its shape": """
        reshape_allowzero_reordered
    """,
    "its weights have shape": """
        matmul_1d_3d matmul_3d matmul_4d matmul_bcast qlinearmatmul_3D_int8_float16 qlinearmatmul_3D_int8_float32
        qlinearmatmul_3D_uint8_float16 qlinearmatmul_3D_uint8_float32
    """,
    "its weights take": """
        matmul_4d_1d
    """,
    "its output 'z' is not supported": """
        dropout_default_mask dropout_default_mask_ratio
    """,
    "labels of several answers": "ai_onnx_ml_binarizer",
    "the graph has no layer with weights, expected at least one": """
        argmax_keepdims_example argmax_negative_axis_keepdims_example
        argmax_no_keepdims_example clip_default_inbounds clip_default_int8_inbounds max_one_input min_one_input
    """,
    "the output, or a function, takes the codes of a quantized tensor": """
        quantizelinear
    """,
    "'y_scale' (one number), 'y_zero_point' (one number); expected one": """
        dynamicquantizelinear dynamicquantizelinear_max_adjusted dynamicquantizelinear_min_adjusted
    """,
}
BY_DESIGN = {f"test_{name}": reason for reason, names in REFUSED_BY_DESIGN.items() for name in names.split()}


def prepared(case) -> tuple[onnx.ModelProto, np.ndarray, list[np.ndarray]]:
    """The model with all inputs but the first as constants, that input, and the outputs expected."""
    inputs, outputs = case.data_sets[0]
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    if proto.graph.node[0].op_type in MOVING and isinstance(outputs[0], np.ndarray):
        last = proto.graph.output[0].name
        proto.graph.node.append(helper.make_node("LeakyRelu", [last], ["after"], alpha=0.5))
        proto.graph.output[0].name = "after"
        outputs = [np.where(outputs[0] >= 0, outputs[0], outputs[0] * 0.5), *outputs[1:]]
    names = [value.name for value in proto.graph.input]
    for name, array in list(zip(names, inputs, strict=True))[1:]:
        is_tensor = isinstance(array, onnx.TensorProto)  # of a type that NumPy has not
        tensor = array if is_tensor else numpy_helper.from_array(np.asarray(array))
        proto.graph.initializer.add().CopyFrom(tensor)
        proto.graph.initializer[-1].name = name
    return proto, inputs[0], outputs


def verdict(case, folder) -> str:
    """ "passes", or the reason why the reader refuses the case; AssertionError where it gives other numbers."""
    proto, x, outputs = prepared(case)
    path = folder / "case.onnx"
    path.write_bytes(proto.SerializeToString())
    try:
        found = import_onnx(path)
    except ArtifactError as error:
        return str(error).removeprefix(f"{path}: ")
    source, x = found.inputs[0], np.asarray(x)
    values = x[None] if source.batch is None else np.moveaxis(x, source.batch, 0)
    rows = values.reshape(-1, found.model.n_in).astype(np.float32)
    expected = outputs[[value.name for value in proto.graph.output].index(found.output)]
    with np.errstate(all="ignore"):
        ours = trace(found.model, rows)[f"{found.model.layers[-1].name}.output"]
        bound = output_bound(found.model, rows, activated=True, foreign=True)
    if found.output_kind == "label":
        np.testing.assert_array_equal(ours.argmax(axis=1), expected.ravel())
        return "passes"
    moved = expected[None] if found.output_batch is None else np.moveaxis(expected, found.output_batch, 0)
    error = np.abs(ours - moved.reshape(len(rows), -1).astype(np.float64))
    rounding = np.spacing(np.abs(ours).astype(np.float16 if expected.dtype == np.float16 else np.float32)) * 2
    assert (error <= bound + rounding.astype(np.float64)).all(), error.max()
    return "passes"


@pytest.mark.parametrize("name", sorted(CASES))
def test_each_case_passes_or_is_refused_by_design(tmp_path, name):
    """The list of refusals stands above, with a part of each reason."""
    expected = BY_DESIGN.get(name, "passes")
    assert expected in verdict(CASES[name], tmp_path)


def test_the_list_names_cases_that_exist():
    """And most of the cases that are left are really computed."""
    assert not set(BY_DESIGN) - set(CASES) or onnx.__version__ < "1.23"
    assert len(set(CASES) - set(BY_DESIGN)) >= 100
