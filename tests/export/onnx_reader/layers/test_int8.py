"""int8 layers out of steps: on all codes the file's own results, or a refusal that names what is not there."""

from __future__ import annotations

import numpy as np
import pytest

from edge_runtime import Elementwise, Engine, Model, QuantizedDense
from edge_runtime.numerics import Activation, QuantParams
from export.onnx_reader.layers.assembly import Assembly
from export.onnx_reader.layers.build import build_layers
from export.onnx_reader.nodes import Budget, Node, Unsupported
from export.onnx_reader.steps import Affine, Chain, Dequantize, Function, Linear, Lookup, Quantize, RowFunction

RNG = np.random.default_rng(17)
IN, MIDDLE, OUT = QuantParams(0.25, 100), QuantParams(0.125, 7), QuantParams(0.5, 130)
NODE = Node("n", "QGemm", "", 13, (), ("o",))


def node(operator):
    return Node("p", operator, "", 13, (), ("o",))


def affine(scale, shift=0.0):
    return Affine(np.asarray(scale, np.float64), np.asarray(shift, np.float64))


def act(name, **params):
    function = Activation.of(name, params)
    return Function(function, function, NODE)


def product(n_in=3, n_out=4, scale=0.5, seed=0):
    """Integer weights and one scale, or one for each output."""
    codes = np.random.default_rng(seed).integers(-50, 50, (n_in, n_out)).astype(np.int32)
    scales = np.broadcast_to(np.float32(scale), (n_out,)).astype(np.float32)
    return Linear(codes.astype(np.float32) * scales, codes, scales)


def assembled(*steps, width=3, made_by=None, budget=1 << 24):
    """Layers out of steps; made_by: the nodes of some of them, by position."""
    chain = Chain(None, None, width)
    for position, step in enumerate(steps):
        chain = chain.then(step, step.weight.shape[1] if isinstance(step, Linear) else None)
        chain.made_by((made_by or {}).get(position, NODE))
    found = Assembly(chain, width, Budget(budget))
    build_layers(found)
    return found


def plainly(steps, x):
    """The steps one after another, in float64."""
    values = np.asarray(x, np.float64)
    for step in steps:
        if isinstance(step, Quantize):
            values = np.clip(np.rint(values / step.grid.scale) + step.grid.zero_point, 0, 255)
        elif isinstance(step, Dequantize):
            values = (values - step.grid.zero_point) * step.grid.scale
        elif isinstance(step, Linear):
            values = values @ step.weight.astype(np.float64)
        elif isinstance(step, Lookup):
            values = step.table[values.astype(int)].astype(np.float64)
        elif isinstance(step, RowFunction):
            values = step.activation(values)
        else:
            values = step(values) if isinstance(step, Affine) else step.call(values)
    return values


def rows(width=3, count=300):
    """Real values over the whole input grid and beyond it."""
    return (RNG.uniform(-30, 45, (count, width))).astype(np.float32)


def check(steps, tolerance=0.0, width=3, **options):
    """The model's outputs are the steps' own."""
    found = assembled(*steps, width=width, **options)
    x = rows(width)
    outputs = Engine(Model(tuple(found.layers), found.preprocessing)).run(x)
    np.testing.assert_allclose(outputs, plainly(steps, x), rtol=0, atol=tolerance)
    assert all(isinstance(layer, QuantizedDense | Elementwise) for layer in found.layers)
    return found


def kept(found):
    """The layers before the one that makes real values of the last codes, which changes nothing else."""
    *layers, last = found.layers
    assert (last.activation.name, last.output, last.input) == ("linear", None, OUT)
    np.testing.assert_array_equal(np.sign(last.weight), np.eye(last.n_out))
    assert not last.bias.any()
    return layers


Q, D = Quantize(IN), Dequantize(IN)
BETWEEN = (Quantize(MIDDLE), Dequantize(MIDDLE))
LAST = (Quantize(OUT), Dequantize(OUT))


def test_two_products_between_grids_are_two_layers():
    """The same integers and grids; powers of two as scales, so that float64 says the same to the bit."""
    first, second = product(scale=2**-6), product(4, 2, scale=2**-5, seed=1)
    found = check((Q, D, first, act("relu"), *BETWEEN, second, *LAST))
    one, two = kept(found)
    np.testing.assert_array_equal(one.weight, first.codes)
    np.testing.assert_array_equal(two.weight, second.codes)
    assert (one.input, one.output, one.activation.name) == (IN, MIDDLE, "relu")
    assert (two.input, two.output, two.activation.name) == (MIDDLE, OUT, "linear")
    np.testing.assert_array_equal(one.multiplier, np.float32([0.25 * 2**-6 / 0.125] * 4))
    assert [layer.name for layer in found.layers] == ["dense0", "dense1", "dense2"]
    assert (found.output_grids, found.slack, found.ties) == ((), {}, set())


@pytest.mark.parametrize("name", ["relu", "linear"])
def test_activations_that_integers_compute_stay_in_their_layer(name):
    """With a bias in whole steps of the products, and a scale for each output."""
    scales = np.float32([2**-6, 2**-5, 2**-7, 2**-6])
    linear = product(scale=scales)
    bias = np.array([3, -70, 0, 11]) * scales * 0.25
    found = check((Q, D, linear, affine(1.0, bias), *([act(name)] if name != "linear" else []), *LAST))
    np.testing.assert_array_equal(found.layers[0].bias, [3, -70, 0, 11])
    np.testing.assert_array_equal(found.layers[0].multiplier, scales * np.float32(0.5))
    assert len(kept(found)) == 1
    assert not found.slack


def test_the_last_layer_may_give_real_values():
    """Without a grid after it; its multiplier is the products' unit."""
    found = check((Q, D, product(scale=2**-6), affine(1.0, 0.25 * 2**-6), act("relu")))
    (layer,) = found.layers
    assert layer.output is None
    np.testing.assert_array_equal(layer.multiplier, np.float32([2**-8] * 4))
    np.testing.assert_array_equal(layer.bias, [1, 1, 1, 1])


def test_a_bias_between_two_steps_is_rounded_and_its_slack_noted():
    """How far the sums may be from the file's, in real units, by output."""
    unit = 0.25 * 2**-6
    shift = affine(1.0, np.array([0.25, 1, 1.5, -2.25]) * unit)
    found = check((Q, D, product(scale=2**-6), shift, *LAST), tolerance=0.5)
    np.testing.assert_array_equal(found.layers[0].bias, [0, 1, 2, -2])
    more = found.slack["dense0"] - np.array([0.25, 0, 0.5, 0.25]) * unit
    assert (more >= 0).all()
    assert (more < unit / 100).all()  # for what float32 rounds


def test_a_bias_that_the_file_adds_to_what_comes_out_is_a_stage():
    """So that real outputs have the file's own bits: a bias between two steps, and a second factor."""
    unit = 0.25 * 2**-6
    for after in (affine(1.0, np.full(4, 1.3) * unit), affine(1.7, np.zeros(4))):
        found = check((Q, D, product(scale=2**-6), affine(0.3, np.zeros(4)), after), tolerance=1e-5)
        layer, stage = found.layers
        assert isinstance(stage, Elementwise)
        assert not layer.bias.any()
        assert not found.slack
    (layer,) = check((Q, D, product(scale=2**-6), affine(1.0, np.full(4, 3.0) * unit))).layers
    assert layer.bias.tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("operator", ["MatMul", "Gemm"])
def test_float_products_of_codes_have_slack_for_their_sums(operator):
    """An engine that does not fuse them adds float32 values; operators on integers do not, nor do rounded outputs."""
    steps = (Q, D, product(scale=2**-6))
    for last, has_slack in (((), True), (LAST, False)):
        found = assembled(*steps, *last, made_by={2: node(operator)})
        assert bool(found.slack) == has_slack
    assert not assembled(*steps, made_by={2: node("QGemm")}).slack


def test_factors_after_a_product_go_into_its_multiplier():
    """Of either sign: a negative one turns the column's integers, 0 leaves the constant alone."""
    linear = product(scale=2**-6)
    factors, shift = np.array([1.0, -2.0, 0.5, 0.0]), np.array([0.0, 0.25, 0.5, 1.5])
    found = check((Q, D, linear, affine(factors, shift), *LAST))
    (layer,) = kept(found)
    np.testing.assert_array_equal(layer.weight, linear.codes * np.sign(factors).astype(int))
    assert (layer.multiplier > 0).all()


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "gelu", "swish"])
def test_other_functions_between_two_grids_become_tables(name):
    """All 256 codes; the layer before keeps the table and is named after the function."""
    found = check((Q, D, product(scale=2**-6), *BETWEEN, act(name), *LAST), tolerance=0.5)
    (layer,) = kept(found)
    assert (layer.activation.name, layer.output, layer.table_output) == (name, MIDDLE, OUT)
    values = Activation.of(name)((np.arange(256) - 7.0) * 0.125)
    expected = np.clip(np.rint(values / 0.5) + 130, 0, 255)
    on_ties = sorted({code for _name, code, _other in found.ties})
    assert len(on_ties) < 64  # far out gelu and swish are x: each fourth code lies on a tie
    np.testing.assert_array_equal(np.delete(layer.table, on_ties), np.delete(expected, on_ties))
    assert np.abs(layer.table - expected).max() <= 1
    assert layer.table.dtype == np.uint8


@pytest.mark.parametrize(
    "run", [(affine(0.5, 0.25),), (act("relu"),), (affine(-1.0), act("tanh"), affine(2.0, -0.5)), ()]
)
def test_what_is_the_same_for_all_features_becomes_a_table(run):
    """Maps, several functions, or nothing but another grid; none has a name but a single one that needs a table."""
    found = check((Q, D, product(scale=2**-6), *BETWEEN, *run, *LAST))
    (layer,) = kept(found)
    assert layer.table_output == OUT
    np.testing.assert_array_equal(layer.table, plainly((Dequantize(MIDDLE), *run, Quantize(OUT)), np.arange(256.0)))
    assert layer.activation.name == ("tanh" if len(run) == 3 else "linear")


def constant(value):
    """A function of one value, which another engine may have a little off."""
    return Function(lambda x, nudge=0.0: np.full_like(x, value) + nudge * 1e-6, None, NODE)


def test_codes_near_a_tie_are_noted_with_the_other_value():
    """A function that ends between two codes may be rounded either way by another engine."""
    found = assembled(Q, D, product(scale=2**-6), *BETWEEN, constant(0.75), *LAST)  # 1.5 steps of 0.5
    assert {code for _name, code, _other in found.ties} == set(range(256))
    assert {(name, other) for name, _code, other in found.ties} == {("dense0", 131)}
    assert (found.layers[0].table == 132).all()
    assert not assembled(Q, D, product(scale=2**-6), *BETWEEN, constant(1.0), *LAST).ties


def test_values_near_a_step_of_a_function_are_noted_too():
    """What is off by a little before a jump is off by much after it."""
    jump = Function(lambda x, nudge=0.0: np.where(x > 0.0625, 1.0, 0.0), None, NODE, rounds=True)
    found = assembled(Q, D, product(scale=2**-6), *BETWEEN, affine(0.5), jump, *LAST)
    assert {(name, code) for name, code, _other in found.ties} == {("dense0", 8)}  # half of 0.125, the code 8
    assert ("dense0", 8, 132) in found.ties


def test_a_table_of_the_file_is_kept_as_it_is():
    """What the next node takes its codes for is its grid."""
    table = RNG.permutation(256).astype(np.uint8)
    found = check((Q, D, product(scale=2**-6), Quantize(MIDDLE), Lookup(table), Dequantize(OUT)))
    (layer,) = kept(found)
    np.testing.assert_array_equal(layer.table, table)
    assert (layer.output, layer.table_output, layer.activation.name) == (MIDDLE, OUT, "linear")


def test_a_second_table_needs_a_layer_of_its_own():
    """One layer keeps one: a map after it becomes a layer that takes each value by itself."""
    found = check((Q, D, product(scale=2**-6), *BETWEEN, act("tanh"), *BETWEEN, act("relu"), *LAST), tolerance=1e-6)
    assert len(kept(found)) == 2
    np.testing.assert_array_equal(np.count_nonzero(found.layers[1].weight, axis=0), 1)


@pytest.mark.parametrize("factors", [[1.0, 2.0, 0.5], [-1.0, 0.25, 3.0], [1.0, 0.0, -0.5]])
def test_maps_of_each_feature_between_two_grids_are_a_stage(factors):
    """Standardization that was quantized: real numbers behind a layer of ones, and not a value that differs."""
    found = check((Q, D, affine(factors, [0.5, -1.0, 2.0]), *LAST))
    ones, stage = kept(found)
    np.testing.assert_array_equal(ones.weight, np.eye(3))
    np.testing.assert_array_equal(stage.scale, factors)
    assert not found.slack


def test_two_grids_right_after_another_are_a_layer():
    """The input put on one grid and then on another, before any product."""
    check((Q, D, *BETWEEN, product(scale=2**-6), *LAST))


def test_probabilities_may_be_rounded_at_the_end():
    """Softmax is the last layer's; the grids after it are told and left out."""
    softmax = RowFunction(Activation.of("softmax"))
    fine = QuantParams(2**-8, 0)
    steps = (Q, D, product(scale=2**-10), softmax)
    once = (Quantize(fine), Dequantize(fine))
    for after, grids in (((), ()), (once, (fine,)), ((*once, *LAST), (fine, OUT))):
        found = assembled(*steps, *after)
        assert found.output_grids == grids
        assert [layer.activation.name for layer in found.layers] == ["softmax"]
        x = rows()
        outputs = Engine(Model(tuple(found.layers))).run(x)
        np.testing.assert_allclose(outputs, plainly(steps, x), atol=1e-5)


SOFTMAX = RowFunction(Activation.of("softmax"))
REFUSED = {
    "codes at the end": ((Q,), "the output, or a function, takes the codes of a quantized tensor; expected"),
    "a function of codes": ((Q, act("relu")), "takes the codes of a quantized tensor"),
    "another zero point": ((Q, Dequantize(MIDDLE), product()), "codes on the grid scale 0.25, zero point 100 are read "
                           "as if on scale 0.125, zero point 7, expected one grid"),
    "float weights": ((Q, D, Linear(np.ones((3, 2), np.float32))), "its weights are not what quantized values need: "
                      "expected integers, one scale per output"),
    "no scale": ((Q, D, Linear(np.ones((3, 2), np.float32), np.ones((3, 2), np.int32))), "its weights are not what"),
    "a table first": ((Q, Lookup(np.zeros(256, np.uint8)), D), "a table stands where no int8 layer can keep it"),
    "a table last": ((Q, D, product(), Quantize(MIDDLE), Lookup(np.zeros(256, np.uint8))), "a table stands where no"),
    "two tables": ((Q, D, product(), Quantize(MIDDLE), Lookup(np.zeros(256, np.uint8)), Lookup(np.ones(256, np.uint8)),
                    D), "a table stands where no int8"),
    "codes of probabilities": ((Q, D, product(), SOFTMAX, Quantize(OUT)), "something follows softmax, which is "
                               "supported at the end only"),
    "a product of probabilities": ((Q, D, product(), SOFTMAX, *LAST, product(4, 2)), "something follows softmax"),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "words"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_int8_chain_is_refused_by_name(steps, words):
    """The node, and the reason."""
    with pytest.raises(Unsupported) as caught:
        assembled(*steps)
    assert words in str(caught.value)
    assert str(caught.value).startswith("node 'n' (QGemm, output 'o'): ")


def test_a_refusal_names_the_products_own_node():
    """And not the one that reads the codes."""
    with pytest.raises(Unsupported, match=r"^node 'p' \(MatMul, output 'o'\): its weights are not what"):
        assembled(Q, D, Linear(np.ones((3, 2), np.float32)), made_by={2: node("MatMul")})


def test_a_scale_that_is_read_another_way_counts():
    """Codes of one zero point may be worth another step than they were rounded to."""
    check((Q, Dequantize(QuantParams(0.5, 100)), product(scale=2**-6), *LAST))


def test_a_layer_for_each_value_is_charged():
    """It is as large as the square of the width: refused before it is made."""
    with pytest.raises(Unsupported, match="more than the limit on memory"):
        assembled(Quantize(IN), Dequantize(IN), affine(np.arange(1.0, 1001)), *LAST, width=1000, budget=1 << 20)


@pytest.mark.parametrize("factors", [[1.0, 2.0, 0.5, -1.0], [1.0, 1.0, 1.0, 2.0]])
def test_what_differs_by_feature_becomes_no_table(factors):
    """A map of each feature after a product's grid is a stage, for a table has one value for all of them."""
    first, ones, stage = kept(check((Q, D, product(scale=2**-6), *BETWEEN, affine(factors), *LAST)))
    assert first.table is ones.table is None
    np.testing.assert_array_equal(stage.scale, factors)


def test_the_same_grid_twice_is_one():
    """Codes that are read and put on their own grid again stay as they are."""
    linear = product(scale=2**-6)
    assert len(kept(check((Q, D, Q, D, linear, *LAST, *LAST)))) == 1
    with pytest.raises(Unsupported, match="no layer can take in what it does to 4,097 codes, expected 4,096 at most"):
        assembled(Q, D, affine(np.arange(4097.0)), *BETWEEN, product(4097, 1), width=4097, budget=1 << 40)


def test_ties_of_all_tables_are_told():
    """Each with the name of its layer."""
    half = constant(0.75)
    found = assembled(
        Q, D, product(scale=2**-6), *BETWEEN, half, *LAST, product(4, 2, scale=2**-6), *BETWEEN, half, *LAST
    )  # fmt: skip
    assert {name for name, _code, _other in found.ties} == {"dense0", "dense1"}
