"""A file of ours holds what is written of the model, whether the rows of a comparison reach it or not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from edge_runtime.errors import ArtifactError
from export import read_onnx
from export.onnx_writer import to_onnx, write_onnx
from export.quantization import quantize
from export.verification import verify
from export.verification.verify import verify_content
from tests.networks import random_model, random_rows

ROWS = random_rows(3, 7)  # few: most entries of a table are never read
FULL = replace(random_model([7, 9, 4], ["tanh", "softmax"]), class_names=("a", "b", "c", "d"))
FORMS = [("integer", False), ("qgemm", False), ("qdq", False), ("qdq", True)]


def small(precision="int8"):
    return quantize(FULL, random_rows(200, 7), precision)


def verdict(model, proto, **options):
    return verify_content(model, proto.SerializeToString(), "m.onnx", ROWS, **options)


@pytest.mark.parametrize(("form", "portable"), FORMS)
def test_every_entry_of_every_constant_counts(form, portable):
    """One changed value of each initializer, also of what the rows do not reach, is found by its name."""
    model = small()
    proto = to_onnx(model, form, portable=portable)
    assert verdict(model, proto).ok
    for tensor in list(proto.graph.initializer):
        values = numpy_helper.to_array(tensor).copy()
        flat = values.reshape(-1)
        flat[-1] = flat[-1] + 1 if flat[-1] < 100 else flat[-1] - 1
        changed = onnx.ModelProto.FromString(proto.SerializeToString())
        found = next(each for each in changed.graph.initializer if each.name == tensor.name)
        found.CopyFrom(numpy_helper.from_array(values, tensor.name))
        try:
            report = verdict(model, changed)
        except ArtifactError:  # onnxruntime refuses it
            continue
        assert not report.ok
        assert (tensor.name, 1) in [(check.tensor, check.differing) for check in report.checks if check.level == "file"]


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic"])
def test_class_names_in_another_order_are_another_model_s(precision):
    """Every name that stands elsewhere is counted, and names that are gone."""
    model = small(precision)
    orders = {"dcba": 4, "abdc": 2, "ab": 2, "abcde": 1}
    for names, differing in orders.items():
        proto = to_onnx(model)
        next(entry for entry in proto.metadata_props if entry.key == "class_names").value = json.dumps(list(names))
        report = verdict(model, proto)
        assert not report.ok
        found = [(check.tensor, check.differing) for check in report.checks if check.differing]
        assert found == [("class_names", differing)]


def test_a_form_that_the_graph_has_not_is_no_way_to_looser_rules():
    """An integer file that calls itself qdq would be judged by what real arithmetic may round."""
    model = small()
    proto = to_onnx(model)
    next(entry for entry in proto.metadata_props if entry.key == "form").value = "qdq"
    report = verdict(model, proto)
    assert not report.ok
    assert "dense0.weight_scale" in {check.tensor for check in report.checks if check.level == "file"}


def test_an_option_that_metadata_lost_is_used_and_said():
    """The weights tell that it is needed: the same answers on every processor, and a line."""
    model = small()
    proto = to_onnx(model, "qdq")
    config = [entry for entry in proto.metadata_props if entry.key == "onnxruntime_session_config"]
    assert config, "weights of this network are to saturate"
    assert verdict(model, proto).notes == ()
    proto.metadata_props.remove(config[0])
    report = verdict(model, proto)
    assert report.ok
    assert report.session_config == (("session.x64quantprecision", "1"),)
    assert report.notes == (
        "the file does not state that onnxruntime needs session.x64quantprecision=1 on x86 CPUs without VNNI; "
        "export it again",
    )


def test_an_output_that_the_file_has_not_is_refused(tmp_path):
    """With the names that it has."""
    model = small()
    path = tmp_path / "m.onnx"
    onnx.save(to_onnx(model), path)
    with pytest.raises(ArtifactError, match=r"m\.onnx: no output 'nosuch'; expected one of 'output'"):
        verify(model, path, ROWS, output="nosuch")
    assert verify(model, path, ROWS, output="output").ok


def test_what_the_model_itself_changed_is_found_too():
    """The bias of the model and not of the file."""
    model = small()
    layer = model.layers[0]
    other = replace(model, layers=(replace(layer, bias=layer.bias + np.int32(1)), *model.layers[1:]))
    report = verdict(other, to_onnx(model))
    assert "dense0.bias" in [check.tensor for check in report.checks if check.level == "file"]


@pytest.mark.parametrize("form", ["integer", "qgemm", "qdq"])
@pytest.mark.parametrize("seed", range(6))
def test_a_model_that_was_read_from_a_file_of_ours_holds_what_the_file_does(tmp_path, form, seed):
    """Scales of the qdq form are multiplied and divided on the way, and round; what it says of itself is said once."""
    model = random_model([7, 9, 5, 3], ["relu", "tanh", "softmax"], seed, standardize=True, weight_scale=1.4)
    path = tmp_path / "m.onnx"
    write_onnx(quantize(model, random_rows(200, 7), "int8"), path, form)
    again = read_onnx(path)
    assert verify(again, path, ROWS).ok
    for other, portable in FORMS:
        assert verdict(again, to_onnx(again, other, portable=portable)).ok


def test_a_scale_that_is_off_by_more_than_roundings_is_found():
    """Four units in the last place, on a channel of the last layer."""
    model = small()
    proto = to_onnx(model, "qdq")
    tensor = next(each for each in proto.graph.initializer if each.name == "dense1.weight_scale")
    scale = numpy_helper.to_array(tensor).copy()
    scale[1] += 4 * np.spacing(scale[1])
    tensor.CopyFrom(numpy_helper.from_array(scale, tensor.name))
    assert [check.tensor for check in verdict(model, proto).checks if check.differing] == ["dense1.weight_scale"]


def test_a_constant_that_cannot_be_read_is_named():
    """Too few bytes for its shape."""
    model = small()
    proto = to_onnx(model)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == "dense0.table")
    tensor.raw_data = tensor.raw_data[:100]
    with pytest.raises(ArtifactError, match=r"constant 'dense0\.table' of the ONNX file cannot be read"):
        verdict(model, proto)


def forged(proto, name, way):
    """A file with another entry 250 in a constant, and the true one beside it under its own name."""
    proto = onnx.ModelProto.FromString(proto.SerializeToString())
    tensor = next(each for each in proto.graph.initializer if each.name == name)
    values = numpy_helper.to_array(tensor).copy()
    values[250] = 255 - values[250]
    other = numpy_helper.from_array(values, name if way == "one name" else "other")
    if way == "node":
        proto.graph.node.insert(0, helper.make_node("Constant", [], ["other"], value=other))
    else:
        proto.graph.initializer.insert(0, other)
    for node in proto.graph.node if way != "one name" else ():
        node.input[:] = ["other" if each == name else each for each in node.input]
    return proto


@pytest.mark.parametrize("way", ["initializer", "node", "one name"])
@pytest.mark.parametrize("form", ["integer", "qgemm"])
def test_the_constant_that_is_read_is_the_one_that_counts(form, way):
    """A true table that no node reads, or one that shares its name, does not speak for the one in use."""
    model = small()
    report = verdict(model, forged(to_onnx(model, form), "dense0.table", way))
    assert not report.ok
    assert {check.level for check in report.checks if check.differing} == {"file"}


def test_a_node_that_rows_do_not_tell_is_found():
    """The largest code becomes the one below it, which no row of the comparison has."""
    model = small()
    proto = to_onnx(model)
    place = next(index for index, node in enumerate(proto.graph.node) if node.op_type == "Gather")
    gather = proto.graph.node[place]
    limit = [numpy_helper.from_array(np.int32(value), name) for value, name in ((254, "limit"), (0, "least"))]
    proto.graph.initializer.extend(limit)
    proto.graph.node.insert(place, helper.make_node("Clip", [gather.input[1], "least", "limit"], ["clipped"]))
    proto.graph.node[place + 1].input[1] = "clipped"
    report = verdict(model, proto)
    assert [check.tensor for check in report.checks if check.differing] == ["dense0.output", "clipped"]


def test_an_operator_that_the_file_defines_itself_is_found():
    """A function under an operator's name may take its place."""
    model = small()
    proto = to_onnx(model)
    identity = [helper.make_node("Identity", ["x"], ["y"])]
    proto.functions.append(
        helper.make_function("own", "Softmax", ["x"], ["y"], identity, [helper.make_opsetid("", 13)])
    )
    proto.opset_import.append(helper.make_opsetid("own", 1))
    assert [check.tensor for check in verdict(model, proto).checks if check.differing] == ["Softmax"]


def test_ends_of_the_graph_may_be_called_anything():
    """An input and an output that somebody renamed are no difference."""
    model = small()
    proto = to_onnx(model)
    proto.graph.input[0].name, proto.graph.output[0].name = "pixels", "classes"
    for node in proto.graph.node:
        node.input[:] = ["pixels" if name == "input" else name for name in node.input]
        node.output[:] = ["classes" if name == "output" else name for name in node.output]
    assert verdict(model, proto).ok


@pytest.mark.parametrize(("form", "portable"), FORMS)
def test_constants_beside_a_file_are_compared_too(tmp_path, form, portable):
    """All initializers in a file of their own: one changed byte of a weight is found, a lost file is named."""
    model, path, data = small(), tmp_path / "m.onnx", tmp_path / "m.data"
    options = {"save_as_external_data": True, "location": data.name, "size_threshold": 0}
    onnx.save(to_onnx(model, form, portable=portable), path, **options)
    assert verify(model, path, ROWS).ok
    stored = onnx.load(path, load_external_data=False).graph.initializer
    entries = next(tensor.external_data for tensor in stored if tensor.name == "dense0.weight")
    content = bytearray(data.read_bytes())
    content[int(next(entry.value for entry in entries if entry.key == "offset"))] ^= 1
    data.write_bytes(content)
    assert not verify(model, path, ROWS).ok
    data.unlink()
    with pytest.raises(ArtifactError, match=r"m\.onnx: external tensor '.*': 'm\.data' is no file in the model's"):
        verify(model, path, ROWS)
