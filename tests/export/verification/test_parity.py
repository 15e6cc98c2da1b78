"""The same bits in NumPy, in onnxruntime and in an implementation that shares no code with either."""

import itertools

import numpy as np
import onnxruntime
import pytest

from edge_runtime import Engine
from edge_runtime.reference.trace import logits, trace
from export.onnx_writer.writer import to_onnx
from export.verification.onnx_session import LEVELS
from export.verification.verify import verify
from tests.adversarial import (
    adversarial_model,
    adversarial_rows,
    fine_adversarial_model,
    in_int4,
    staged_adversarial_model,
)
from tests.opsets import int4_opsets, newest_opset
from tests.plain_int8 import MUTATIONS, logits_and_hidden

NETWORKS = 320
ENOUGH = 5  # networks that tell wrong arithmetic from right: one could be chance
ALL_LEVELS = tuple(LEVELS)

NEWEST, INT4_OPSETS = newest_opset(), int4_opsets()


@pytest.mark.parametrize(
    "seeds", [range(start, start + 20) for start in range(0, NETWORKS, 20)], ids=lambda s: f"{s[0]}-"
)
def test_adversarial_networks_give_the_same_bits_everywhere(seeds, tmp_path):
    """Hidden tensors and logits at every optimization level, in two forms, opsets 13 to the newest, 1 and 2 threads."""
    for seed in seeds:
        model = adversarial_model(seed)
        rows = adversarial_rows(model, seed)
        form = ("integer", "qgemm")[seed % 4 == 3]
        opset = 13 + seed % (NEWEST - 12)
        path = tmp_path / f"{seed}.onnx"
        path.write_bytes(to_onnx(model, form, opset=opset).SerializeToString())
        report = verify(model, path, rows, levels=ALL_LEVELS, threads=1 + seed % 2)
        assert report.form == form
        assert report.exact_differing == 0, (seed, form, opset, report.first_diverging_layer)


@pytest.mark.parametrize("form", ["integer", "qgemm", "qdq"])
@pytest.mark.parametrize("opset", INT4_OPSETS)
def test_adversarial_networks_of_4_bits_give_the_same_bits_everywhere(form, opset, tmp_path):
    """And with layers of 4 and of 8 bits in turn. The form qdq keeps its bound."""
    for seed in range(30):
        model = in_int4(adversarial_model(seed), every=1 + seed % 2)
        rows = adversarial_rows(model, seed)
        path = tmp_path / f"{seed}.onnx"
        path.write_bytes(to_onnx(model, form, opset=opset).SerializeToString())
        report = verify(model, path, rows, levels=ALL_LEVELS, threads=1 + seed % 2)
        assert report.ok, (seed, report.first_diverging_layer)
        assert report.exact_differing == 0, (seed, report.first_diverging_layer)


@pytest.mark.parametrize(
    "seeds", [range(start, start + 20) for start in range(0, NETWORKS // 4, 20)], ids=lambda s: f"{s[0]}-"
)
def test_adversarial_networks_with_stages_keep_their_rules_everywhere(seeds, tmp_path):
    """Integers have the same bits for the same floats before them, maps the same floats, normalizations their bound."""
    for seed in seeds:
        model = staged_adversarial_model(seed)
        rows = adversarial_rows(model, seed)
        form, opset = ("integer", "qgemm")[seed % 4 == 3], 13 + seed % (NEWEST - 12)
        path = tmp_path / f"{seed}.onnx"
        path.write_bytes(to_onnx(model, form, opset=opset).SerializeToString())
        report = verify(model, path, rows, levels=ALL_LEVELS, threads=1 + seed % 2)
        first = next((check for check in report.checks if check.differing), None)
        is_old = onnxruntime.__version__ < "1.20"  # takes a variance from squares: it may come out negative, as NaN
        assert first is None or (is_old and first.differing == first.lone_nans), (seed, form, opset, first)
        with np.errstate(all="ignore"):
            found, expected = Engine(model).logits(rows), logits(model, trace(model, rows))
        np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize("seeds", [range(start, start + 20) for start in range(0, 120, 20)], ids=lambda s: f"{s[0]}-")
def test_grids_of_9_to_16_bits_give_the_same_bits_everywhere(seeds, tmp_path):
    """Codes, accumulators and logits by the two bytes of each code; every third network with stages in floats."""
    for seed in seeds:
        is_staged = seed % 3 == 2
        model = staged_adversarial_model(seed, fine_adversarial_model) if is_staged else fine_adversarial_model(seed)
        opset = 13 + seed % (NEWEST - 12)
        if seed % 5 == 4:
            model, opset = in_int4(model), INT4_OPSETS[seed % len(INT4_OPSETS)]
        path, rows = tmp_path / f"{seed}.onnx", adversarial_rows(model, seed)
        path.write_bytes(to_onnx(model, opset=opset).SerializeToString())
        report = verify(model, path, rows, levels=ALL_LEVELS, threads=1 + seed % 2)
        first = next((check for check in report.checks if check.differing), None)
        is_old = onnxruntime.__version__ < "1.20"  # takes a variance from squares: it may come out negative, as NaN
        assert first is None or (is_old and is_staged and first.differing == first.lone_nans), (seed, first)
        assert report.exact_compared > 0


@pytest.mark.parametrize(
    "seeds", [range(start, start + 50) for start in range(0, NETWORKS, 50)], ids=lambda s: f"{s[0]}-"
)
def test_the_engine_the_trace_and_an_independent_implementation_agree(seeds):
    """int64 sums written from the definition, float64 sums of the trace, float32 products of the engine: one result."""
    for seed in seeds:
        model = adversarial_model(seed)
        rows = adversarial_rows(model, seed)
        expected, hidden = logits_and_hidden(model, rows)
        tensors = trace(model, rows)
        found = Engine(model).logits(rows)
        np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))
        np.testing.assert_array_equal(logits(model, tensors).view(np.uint32), expected.view(np.uint32))
        for layer, values in zip(model.layers, hidden[1:], strict=False):
            np.testing.assert_array_equal(tensors[f"{layer.name}.output"], values)


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_each_way_of_getting_the_arithmetic_wrong_is_caught(mutation):
    """Half-away rounding, float64 products, multiplying with 1 / s, zero point before rounding: each changes bits."""
    caught = itertools.islice(filter(lambda seed: is_caught(seed, mutation), range(NETWORKS)), ENOUGH)
    assert len(list(caught)) == ENOUGH, f"too few of {NETWORKS} networks tell '{mutation}' from the right arithmetic"


def is_caught(seed, mutation):
    """Whether the network of this seed gives other bits somewhere."""
    model = adversarial_model(seed)
    rows = adversarial_rows(model, seed)
    right, right_hidden = logits_and_hidden(model, rows)
    wrong, wrong_hidden = logits_and_hidden(model, rows, mutation)
    same = (right.view(np.uint32) == wrong.view(np.uint32)).all()
    return not (same and all((a == b).all() for a, b in zip(right_hidden, wrong_hidden, strict=True)))
