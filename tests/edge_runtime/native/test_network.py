"""The kernels beside NumPy: the same int8 bits under each compiler and with each set of instructions that runs here."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_runtime import Activation, Dense, Engine, Model, QuantizedDense, QuantParams
from edge_runtime.native import library
from edge_runtime.native.processor import processors
from edge_runtime.numerics import DEFINITIONS
from edge_runtime.reference import agree, logits, output_bound, trace
from tests.adversarial import adversarial_model, adversarial_rows, in_int4
from tests.compilers import COMPILERS, needs_compiler
from tests.networks import (
    random_elementwise,
    random_layer_norm,
    random_model,
    random_rows,
    staged_model,
    with_subnormals,
    zeroed,
)

pytestmark = needs_compiler
KINDS = [processor.name for processor in processors()]


@pytest.fixture(params=[(compiler, kind) for compiler in COMPILERS or [None] for kind in KINDS], ids=str)
def kernels_of(request, monkeypatch):
    """Kernels of each compiler, for each kind of processor whose instructions this one has."""
    compiler, kind = request.param
    if compiler is not None:
        monkeypatch.setenv("CC", compiler)
    monkeypatch.setattr(library, "processors", lambda: [one for one in processors() if one.name == kind])


def bits(values):
    return values.view(np.uint32).tolist()


def test_int8_logits_have_numpys_bits(kernels_of):
    """300 networks on exact ties, of awkward scales, saturation, every zero point, tables, and 1 to 5,000 inputs."""
    for seed in range(300):
        model = adversarial_model(seed)
        rows = adversarial_rows(model, seed)
        with np.errstate(all="ignore"):
            ours, native = (Engine(model, backend=name) for name in ("numpy", "native"))
            assert bits(native.logits(rows)) == bits(ours.logits(rows)), seed
            assert bits(native.logits(rows[0])) == bits(ours.logits(rows[0])), seed


def test_int4_logits_have_numpys_bits(kernels_of):
    """The same networks with 4-bit weights, packed for the kernels a panel at a time."""
    for seed in range(300):
        model = in_int4(adversarial_model(seed))
        rows = adversarial_rows(model, seed)
        with np.errstate(all="ignore"):
            ours, native = (Engine(model, backend=name) for name in ("numpy", "native"))
            assert bits(native.logits(rows)) == bits(ours.logits(rows)), seed
            assert bits(ours.logits(rows)) == bits(logits(model, trace(model, rows))), seed
            assert bits(ours.logits(rows[0])) == bits(native.logits(rows[0])), seed


@settings(max_examples=60, deadline=None)
@given(st.integers(1000, 1_000_000), st.integers(1, 70))
def test_int8_bits_hang_on_neither_seed_nor_number_of_rows(seed, count):
    """Any network, and so many rows together: each row's bits are NumPy's, for that row alone too."""
    model = adversarial_model(seed)
    rows = np.resize(adversarial_rows(model, seed), (count, model.n_in))
    with np.errstate(all="ignore"):
        expected = Engine(model).logits(rows)
        engine = Engine(model, backend="native")
        assert bits(engine.logits(rows)) == bits(expected)
        assert bits(engine.logits(rows[-1])) == bits(expected[-1])


@pytest.mark.parametrize("n_in", range(1, 18))
def test_every_remainder_of_inputs_and_outputs_is_multiplied(kernels_of, n_in):
    """1 to 17 inputs by 1 to 300 outputs, largest weights and activations: what is padded adds nothing."""
    grid = QuantParams(1.0, 3)
    for n_out in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 300):
        weight = np.full((n_in, n_out), 127, np.int8)
        weight[:, ::2] = -127
        first = QuantizedDense(
            "a",
            weight,
            np.arange(n_out, dtype=np.int32),
            np.full(n_out, 2.0**-9, np.float32),
            grid,
            grid,
            Activation.of("linear"),
        )
        last = QuantizedDense(
            "b",
            np.ones((n_out, 2), np.int8),
            np.zeros(2, np.int32),
            np.ones(2, np.float32),
            grid,
            None,
            Activation.of("linear"),
        )
        model = Model((first, last))
        rows = np.vstack([np.full((3, n_in), 1e6), np.full((3, n_in), -1e6), random_rows(3, n_in) * 50])
        assert bits(Engine(model, backend="native").run(rows)) == bits(Engine(model).run(rows)), n_out


def test_sums_beyond_24_bits_are_exact(kernels_of):
    """8,192 inputs at the largest product: accumulators near 2^28, where float32 sums would not be exact."""
    grid = QuantParams(1.0, 0)
    weight = np.full((8192, 3), 127, np.int8)
    weight[0] = (1, 2, 3)
    layer = QuantizedDense(
        "a",
        weight,
        np.array([1, -1, 0], np.int32),
        np.ones(3, np.float32),
        grid,
        None,
        Activation.of("linear"),
    )
    rows = np.full((5, 8192), 255, np.float32)
    rows[1:, ::2] = 254
    assert bits(Engine(Model((layer,)), backend="native").run(rows)) == bits(Engine(Model((layer,))).run(rows))


@pytest.mark.parametrize("precision", [np.float32, np.float16])
@pytest.mark.parametrize("hidden", ["relu", "leaky_relu", "tanh", "sigmoid"])
def test_floats_keep_the_bound(kernels_of, precision, hidden):
    """float32 and widened float16: within the bound on two correct evaluations of the same network."""
    for sizes in ([5, 3, 2], [129, 65, 17, 9], [784, 64, 10], [1030, 3]):
        model = random_model(sizes, [hidden] * (len(sizes) - 2) + ["softmax"], standardize=True)
        model = replace(
            model, layers=tuple(replace(layer, weight=layer.weight.astype(precision)) for layer in model.layers)
        )
        rows = random_rows(37, sizes[0])
        bound = output_bound(model, rows, activated=True)
        native = Engine(model, backend="native").run(rows)
        assert agree(native, Engine(model).run(rows), bound).all(), sizes


def test_a_rows_floats_hang_on_no_other_row(kernels_of):
    """Bits of a row alone, among 37, and among 300, which run in two blocks."""
    for hidden in ("relu", "sigmoid", "gelu"):
        model = random_model([129, 65, 17], [hidden, "softmax"])
        engine, rows = Engine(model, backend="native"), random_rows(300, 129)
        together = engine.run(rows)
        assert bits(engine.run(rows[:37])) == bits(together[:37])
        assert all(bits(engine.run(row)) == bits(answer) for row, answer in zip(rows[:9], together[:9], strict=True))


@pytest.mark.skipif(len(COMPILERS) < 2, reason="needs gcc and clang")
def test_compilers_agree_on_floats_too(monkeypatch):
    """The order of the sums and what is fused stand in the source: gcc and clang give the same bits."""
    rows, found = random_rows(40, 129), []
    for compiler in COMPILERS:
        monkeypatch.setenv("CC", compiler)
        models = (random_model([129, 65, 17], ["relu", "softmax"]), staged_model([129, 20, 9], hidden="sigmoid"))
        found.append([bits(Engine(model, backend="native").run(rows)) for model in models])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", sorted(DEFINITIONS))
def test_every_activation_is_computed_by_the_kernels_or_by_numpy(name):
    """Hidden where it may be, and last: within the bound, as logits too, which leave the last one out."""
    hidden = "relu" if DEFINITIONS[name].is_over_row else name
    model = random_model([20, 17, 9, 5], [hidden, "linear", name])
    rows = random_rows(33, 20)
    native, ours = Engine(model, backend="native"), Engine(model)
    assert agree(native.run(rows), ours.run(rows), output_bound(model, rows, activated=True)).all()
    assert agree(native.logits(rows), ours.logits(rows), output_bound(model, rows, activated=False)).all()


@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.01, 1.0, 1.5])
def test_leaky_relu_is_numpys(kernels_of, alpha):
    """Float and int8, whatever its slope; infinities and NaN stay where NumPy leaves them."""
    activation = Activation("leaky_relu", (("alpha", alpha),))
    dense = Dense("a", np.eye(4, dtype=np.float32), np.zeros(4, np.float32), activation)
    rows = np.array([[-np.inf, np.inf, np.nan, -3], [1, -1, 0, 3e38]], np.float32)
    model = Model((dense,))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(Engine(model, backend="native").run(rows), Engine(model).run(rows))
    grid = QuantParams(1.0, 100)
    layer = QuantizedDense(
        "a", np.eye(4, dtype=np.int8) * 3, np.zeros(4, np.int32), np.ones(4, np.float32), grid, grid, activation
    )
    last = replace(layer, name="b", output=None, activation=Activation.of("linear"))
    model = Model((layer, last))
    rows = np.arange(-150, 250, dtype=np.float32).reshape(-1, 4)
    assert bits(Engine(model, backend="native").run(rows)) == bits(Engine(model).run(rows))


def test_values_that_are_not_finite_end_where_numpys_do(kernels_of):
    """NaN and inf in a row of a float network: NaN and inf in that row's outputs alone, at the same places."""
    model = random_model([6, 5, 4, 3], ["relu", "sigmoid", "softmax"])
    rows = random_rows(7, 6)
    rows[1, 0], rows[2, 3], rows[3, 5] = np.nan, np.inf, -np.inf
    with np.errstate(all="ignore"):
        native, ours = Engine(model, backend="native").run(rows), Engine(model).run(rows)
    assert (np.isnan(native) == np.isnan(ours)).all()
    assert np.isfinite(native[[0, 4, 5, 6]]).all()


def test_subnormal_weights_count_as_zero():
    """As in NumPy's engine: the outputs are those of the network with 0 in their place."""
    model, rows = with_subnormals(500, (30, 20, 4)), random_rows(5, 30) * 1e30
    assert bits(Engine(model, backend="native").run(rows)) == bits(Engine(zeroed(model), backend="native").run(rows))


@pytest.mark.parametrize("parts", ["scale shift", "slope", "low", "high", "scale shift slope low high"])
def test_elementwise_stages_are_numpys(kernels_of, parts):
    """Value by value, before and after int8 and float layers."""
    for final in ("linear", "relu", "tanh"):
        model = Model((random_elementwise(33, 3, final, parts=parts),))
        rows = random_rows(9, 33) * 3
        rows[0, 0], rows[1, 1], rows[2, 2] = np.nan, np.inf, -np.inf
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(Engine(model, backend="native").run(rows), Engine(model).run(rows))


@pytest.mark.parametrize("centered", [True, False])
def test_layer_norms_are_numpys(kernels_of, centered):
    """The sums are added up in the order of the features on both sides, so the bits are the same."""
    model = Model((random_layer_norm(70, 3, centered=centered),))
    rows = random_rows(9, 70)
    assert bits(Engine(model, backend="native").run(rows)) == bits(Engine(model).run(rows))


@pytest.mark.parametrize("seed", range(4))
def test_networks_with_stages_keep_the_bound(kernels_of, seed):
    """Stages between layers, some with activations that NumPy computes in between."""
    model, rows = staged_model([20, 17, 33, 9, 5], seed, standardize=seed % 2 == 0), random_rows(40, 20)
    bound = output_bound(model, rows, activated=True)
    assert agree(Engine(model, backend="native").run(rows), Engine(model).run(rows), bound).all()


def test_int8_and_float_layers_may_alternate(kernels_of):
    """A layer that gives real values before one that quantizes them, with an activation of NumPy's between them."""
    rng = np.random.default_rng(5)
    for activation in ("linear", "relu", "tanh", "gelu"):
        grid = QuantParams(0.0625, 131)
        layers = [
            Dense("f", rng.normal(size=(9, 12)).astype(np.float32), np.ones(12, np.float32), Activation.of("relu"))
        ]
        for name, n in (("q", 12), ("r", 7)):
            layers.append(
                QuantizedDense(
                    name,
                    rng.integers(-127, 128, (n, 7)).astype(np.int8),
                    rng.integers(-99, 99, 7).astype(np.int32),
                    np.full(7, 2e-4, np.float32),
                    grid,
                    None,
                    Activation.of(activation),
                )
            )
        model, rows = Model(tuple(layers)), random_rows(41, 9)
        bound = output_bound(model, rows, activated=True)
        assert agree(Engine(model, backend="native").run(rows), Engine(model).run(rows), bound).all()
