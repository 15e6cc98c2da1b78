import os

import numpy as np
import pytest

from edge_runtime import InputError
from edge_runtime.reference.trace import logits, trace
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from export.verification.dumps import verify_dumps
from tests.networks import random_model, random_rows


def device_files(folder, model, x, change=lambda name, values: values):
    """What a device would write down."""
    tensors = trace(model, x)
    tensors = {**tensors, "logits": logits(model, tensors)}
    for name, values in tensors.items():
        np.save(folder / f"{name}.npy", change(name, values))


def small(precision="int8"):
    rows = random_rows(100, 6)
    model = random_model([6, 5, 3], ["relu", "softmax"], standardize=True)
    return with_test_vectors(quantize(model, rows, precision), rows)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_what_the_model_computes_is_accepted(tmp_path, precision):
    """The stored test vectors serve as inputs where no rows are given."""
    model = small(precision)
    device_files(tmp_path, model, model.test_vectors.inputs)
    report = verify_dumps(model, tmp_path)
    assert report.ok
    assert report.rows == 8
    assert {check.tensor for check in report.checks} >= {"dense0.output", "logits"}


def test_one_wrong_step_on_the_device_is_found_and_named(tmp_path):
    """The first tensor that differs is reported, in steps and in real units."""
    model = small()

    def off_by_one(name, values):
        values = values.copy()
        if name == "dense0.output":
            values[3, 2] += 1 if values[3, 2] < 255 else -1
        return values

    device_files(tmp_path, model, model.test_vectors.inputs, off_by_one)
    report = verify_dumps(model, tmp_path)
    assert not report.ok
    assert report.first_diverging_layer == "dense0.output"
    assert report.differing == 1


def test_floats_of_another_order_of_summation_are_accepted_and_wrong_ones_are_not(tmp_path):
    """The bound follows from the weights: 1e-7 is noise, 1e-3 is an error."""
    model = small("float32")
    for size, ok in ((1e-7, True), (1e-3, False)):

        def shifted(name, values, size=size):
            return values if name == "input.standardized" else values + np.float32(size)

        device_files(tmp_path, model, model.test_vectors.inputs, shifted)
        assert verify_dumps(model, tmp_path).ok == ok


def test_folders_that_hold_something_else_are_refused(tmp_path):
    """No files, an unknown tensor, a wrong shape and a wrong dtype are named."""
    model = small()
    with pytest.raises(InputError, match=r"no \.npy files"):
        verify_dumps(model, tmp_path)
    np.save(tmp_path / "logits.npy", np.zeros((8, 4), np.float32))
    with pytest.raises(InputError, match=r"\(8, 4\) found, expected float32 \(8, 3\)"):
        verify_dumps(model, tmp_path)
    np.save(tmp_path / "logits.npy", np.zeros((8, 3)))
    with pytest.raises(InputError, match="float64"):
        verify_dumps(model, tmp_path)
    np.save(tmp_path / "dense7.output.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"no tensor 'dense7\.output'; it has"):
        verify_dumps(model, tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="pipes with names are POSIX")
def test_a_pipe_among_the_dumps_is_refused(tmp_path):
    """Reading it would wait for a writer that never comes."""
    os.mkfifo(tmp_path / "logits.npy")
    with pytest.raises(InputError, match="expected a regular file"):
        verify_dumps(small(), tmp_path)
