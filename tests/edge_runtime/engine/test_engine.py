import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import (
    Activation,
    BudgetExceeded,
    Dense,
    Engine,
    InputError,
    Limits,
    Model,
    QuantizedDense,
    QuantParams,
)
from edge_runtime.engine.plan_choice import BLOCKS
from edge_runtime.reference.trace import logits, trace
from export.quantization.quantizer import quantize
from tests.memory import traced
from tests.networks import random_model, random_rows

NETWORKS = {
    "small": ([64, 32, 10], ["relu", "softmax"]),
    "tables": ([30, 17, 5, 3], ["sigmoid", "tanh", "linear"]),
    "leaky": ([7, 9, 8, 1], ["leaky_relu", "linear", "sigmoid"]),
    "over 2^24": ([3000, 20, 4], ["relu", "tanh"]),
    "one by one": ([1, 1], ["relu"]),
}


def network(name, precision, standardize=True):
    sizes, activations = NETWORKS[name]
    model = random_model(sizes, activations, standardize=standardize)
    return quantize(model, random_rows(200, sizes[0]), precision)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("precision", ["int8", "int8-a16", "int4"])
def test_integer_logits_are_those_of_the_plain_implementation_bit_for_bit(name, standardize, precision):
    """The fast path gives the bits of the obvious one, for every activation and beyond float32's exact integers."""
    model = network(name, precision, standardize)
    rows = random_rows(100, model.n_in, seed=9) * 3
    found, expected = Engine(model).logits(rows), logits(model, trace(model, rows))
    np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_float_outputs_are_close_to_the_plain_implementation(name, precision):
    """Different only by the order of summation: within 16 units in the last place of the sums of magnitudes."""
    model = network(name, precision)
    rows = random_rows(100, model.n_in, seed=9)
    expected = trace(model, rows)[f"{model.layers[-1].name}.output"]
    np.testing.assert_allclose(Engine(model).run(rows), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("precision", ["int8", "int8-a16", "int4"])
def test_an_integer_answer_does_not_depend_on_the_rows_around_it(name, precision):
    """One at a time, in odd batches, or all at once: the same bits."""
    engine = Engine(network(name, precision))
    rows = random_rows(2 * BLOCKS[0] + 5, engine.model.n_in)
    together = engine.run(rows)
    np.testing.assert_array_equal(np.stack([engine.run(row) for row in rows]), together)
    np.testing.assert_array_equal(np.concatenate([engine.run(rows[:7]), engine.run(rows[7:])]), together)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-a16", "int4"])
def test_shapes_follow_the_input(precision):
    """A vector gives a vector, a batch gives a batch, and no rows give no rows."""
    engine = Engine(network("small", precision))
    assert engine.run(np.zeros(64)).shape == (10,)
    assert engine.run(np.zeros((1, 64))).shape == (1, 10)
    assert engine.run(np.zeros((0, 64))).shape == (0, 10)
    assert engine.run(np.zeros((100, 64), np.float32)).dtype == np.float32
    assert engine.predict(np.zeros(64)).shape == ()
    assert engine.predict(np.zeros((5, 64))).dtype == np.int64


@pytest.mark.parametrize(
    "bad",
    [np.zeros(63), np.zeros((2, 65)), np.zeros((1, 1, 64)), np.zeros(64, complex), np.array(["a"] * 64), np.float32(1)],
)
def test_a_wrong_shape_or_dtype_is_an_input_error(bad):
    """Nothing else is raised, and the message says what was expected."""
    with pytest.raises(InputError, match="expected"):
        Engine(network("small", "int8")).run(bad)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64, bool, ">f4"])
def test_any_real_numbers_are_taken_as_float32(dtype):
    """A caller's integers or doubles give what their float32 values give."""
    engine = Engine(network("small", "int8"))
    rows = (random_rows(5, 64) > 0).astype(dtype)
    np.testing.assert_array_equal(engine.run(rows), engine.run(rows.astype(np.float32)))
    np.testing.assert_array_equal(engine.run(rows[:, ::-1]), engine.run(rows[:, ::-1].copy()))


def test_the_result_is_the_callers_own():
    """A later run does not write into an earlier result, and the input is left as it was."""
    engine = Engine(network("small", "float32"))
    rows = random_rows(3, 64)
    kept, first = rows.copy(), engine.run(rows)
    copy = first.copy()
    engine.run(random_rows(3, 64, seed=5))
    np.testing.assert_array_equal(first, copy)
    np.testing.assert_array_equal(rows, kept)


def test_nan_becomes_the_lowest_grid_point_in_int8_and_stays_nan_in_float32():
    """A broken sensor cannot poison an int8 network: its value counts as the smallest one."""
    rows = random_rows(2, 64)
    rows[0, 5] = np.nan
    int8 = network("small", "int8", standardize=False)
    lowest = rows.copy()
    lowest[0, 5] = -1e30
    np.testing.assert_array_equal(Engine(int8).run(rows), Engine(int8).run(lowest))
    assert np.isnan(Engine(network("small", "float32")).run(rows)[0]).all()


def test_one_output_is_a_yes_or_no():
    """With one output the class is 1 where the logit is positive."""
    layer = Dense("a", np.ones((1, 1), np.float32), np.zeros(1, np.float32), Activation.of("sigmoid"))
    assert Engine(Model((layer,))).predict([[-1.0], [0.0], [2.0]]).tolist() == [0, 0, 1]


def test_max_batch_is_refused_by_number():
    """The limit and the size are both in the message."""
    engine = Engine(network("small", "int8"), Limits(max_batch=4))
    assert engine.run(np.zeros((4, 64))).shape == (4, 10)
    with pytest.raises(InputError, match="5 rows, the limit max_batch is 4"):
        engine.run(np.zeros((5, 64)))


def test_a_tight_memory_budget_changes_the_block_and_not_the_answer():
    """The largest block that fits is used; the int8 bits stay."""
    model = network("small", "int8")
    rows = random_rows(70, 64)
    free = Engine(model)
    tight = Engine(model, Limits(ram_bytes=free.plan.total_bytes - 1))
    assert tight.plan.block < free.plan.block
    assert tight.plan.total_bytes < free.plan.total_bytes
    np.testing.assert_array_equal(tight.run(rows), free.run(rows))


def test_a_budget_below_the_smallest_plan_is_refused_with_the_numbers():
    """Need, budget, missing bytes and the largest layer are named."""
    with pytest.raises(BudgetExceeded, match=r"budget is 1,000 B, missing [\d,]+ B; the largest layer is 'dense0'"):
        Engine(network("small", "int8"), Limits(ram_bytes=1000))


def test_the_plan_adds_up_and_is_what_the_engine_holds():
    """total is the sum of the parts; the arena and the widened copies are what was allocated."""
    for name in NETWORKS:
        engine = Engine(network(name, "int8"))
        plan = engine.plan
        parts = (plan.weight_bytes, plan.other_bytes, plan.widened_bytes, plan.arena_bytes, plan.temporary_bytes)
        assert plan.total_bytes == sum(parts)
        assert plan.arena_bytes == engine._backend._arena.nbytes
        constants = [
            array for c in engine._backend._constants for array in (c.weight, c.bias, c.table) if array is not None
        ]
        assert plan.widened_bytes == sum(array.nbytes for array in constants)


@pytest.mark.parametrize("bad", [{"ram_bytes": 0}, {"max_batch": 0}, {"speed_factor": 0.5}, {"speed_factor": np.nan}])
def test_limits_out_of_range_are_refused(bad):
    """A limit that cannot be meant is an error at once."""
    with pytest.raises(InputError, match="expected"):
        Limits(**bad)


def test_mixed_precision_runs_layer_by_layer():
    """An int8 layer between float ones: its input is quantized there and its output is float32 again."""
    whole = network("small", "int8", standardize=False)
    first = replace(random_model([64, 64], ["linear"]).layers[0], name="first", weight=np.eye(64, dtype=np.float32))
    first = replace(first, bias=np.zeros(64, np.float32))
    mixed = Model((first, *whole.layers))
    rows = random_rows(40, 64)
    np.testing.assert_array_equal(Engine(mixed).logits(rows), Engine(whole).logits(rows))


def test_a_hidden_leaky_relu_that_overflows_saturates_as_the_trace_does():
    """alpha 0 beside an infinite value is no NaN: the larger of the two is taken."""
    grid, one = QuantParams(1.0, 100), np.ones((1, 1), np.int8)
    leaky = Activation.of("leaky_relu", {"alpha": 0.0})
    first = QuantizedDense("a", one, np.zeros(1, np.int32), np.full(1, 1e38, np.float32), grid, grid, leaky)
    last = QuantizedDense("b", one, np.zeros(1, np.int32), np.ones(1, np.float32), grid, None, Activation.of("linear"))
    model, rows = Model((first, last)), np.float32([[-50], [0], [7]])
    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(Engine(model).logits(rows), logits(model, trace(model, rows)))


def test_int8_dynamic_refuses_what_has_no_range():
    """NaN and inf in an int8-dynamic model are an InputError, not an answer."""
    model = quantize(random_model([4, 3, 2], ["relu", "linear"]), precision="int8-dynamic")
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="finite values only"):
            Engine(model).run([[bad, 0, 0, 0]])


def test_rows_of_different_lengths_are_an_input_error():
    """A ragged list is no array."""
    with pytest.raises(InputError, match="rows of one length"):
        Engine(network("small", "int8")).run([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda engine: pickle.loads(pickle.dumps(engine))])
def test_a_copy_of_an_engine_has_an_arena_and_a_lock_of_its_own(duplicate):
    """It keeps the limits and gives the same bits; what it runs waits for nothing of the first engine's."""
    engine = Engine(network("small", "int8"), Limits(max_batch=8))
    other = duplicate(engine)
    rows = random_rows(8, 64)
    with engine.lock:
        found = other.logits(rows)
    np.testing.assert_array_equal(found, engine.logits(rows))
    assert (other.limits, other.plan) == (engine.limits, engine.plan)
    assert other._backend._arena is not engine._backend._arena


def test_a_batch_beyond_any_memory_is_a_memory_error():
    """int8-dynamic rows go through together: no ValueError comes from a size that NumPy cannot even state."""
    model = quantize(random_model([4, 3, 2], ["relu", "linear"]), precision="int8-dynamic")
    with pytest.raises(MemoryError, match=r"an arena of .* bytes"):
        Engine(model, Limits(max_batch=10**20))


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("runs", [0, -1, 1.5, True, None, "3"])
def test_a_profile_of_no_runs_is_refused(precision, runs):
    """A whole number of at least one, as NumPy's integers are too."""
    engine = Engine(network("small", precision))
    with pytest.raises(InputError, match=r"runs is .*, expected a whole number of at least 1"):
        engine.profile(np.zeros((2, 64)), runs=runs)
    assert len(engine.profile(np.zeros((2, 64)), runs=np.int64(1))) == 2


@pytest.mark.parametrize("rows", [0, BLOCKS[0] + 1])
def test_a_profile_is_of_one_block(rows):
    """From one row to as many as go through the network together."""
    engine = Engine(network("small", "int8"))
    with pytest.raises(InputError, match=f"{rows} rows to profile, expected 1 to {BLOCKS[0]}"):
        engine.profile(np.zeros((rows, 64)))
    assert len(engine.profile(np.zeros((BLOCKS[0], 64)), runs=1)) == 2


@pytest.mark.parametrize("count", [1, 2, 3, BLOCKS[0], BLOCKS[0] + 1, 2 * BLOCKS[0], 2 * BLOCKS[0] + 7])
@pytest.mark.parametrize("n_out", [1, 5])
def test_classes_are_those_of_the_logits_for_any_number_of_rows(count, n_out):
    """Block by block as all together: the first of the largest, and for one output whether it is positive."""
    engine = Engine(random_model([6, n_out], ["sigmoid"], bias_scale=0))
    rows = random_rows(count, 6)
    rows[0] = 0  # all logits are equal there
    logits = engine.logits(rows)
    expected = (logits[:, 0] > 0).astype(int) if n_out == 1 else logits.argmax(axis=1)
    assert engine.predict(rows).tolist() == expected.tolist()
    assert engine.predict(rows.tolist()).tolist() == expected.tolist()
    assert engine.predict(rows[-1]) == expected[-1]
    assert expected[0] == 0


@pytest.mark.parametrize("kind", ["list", "doubles", "columns first", "reversed", "not aligned"])
@pytest.mark.parametrize("precision", ["float32", "int8", "int8-a16"])
def test_rows_in_any_layout_give_the_same_bits(precision, kind):
    """What BLAS would copy is copied into the arena first: one row and many."""
    engine, x = Engine(network("small", precision)), random_rows(9, 64)
    rows = {
        "list": x.tolist(),
        "doubles": x.astype(np.float64),
        "columns first": np.asfortranarray(x),
        "reversed": x[:, ::-1].copy()[:, ::-1],
        "not aligned": np.frombuffer(b"." + x.tobytes(), np.float32, x.size, 1).reshape(x.shape),
    }[kind]
    np.testing.assert_array_equal(engine.run(rows), engine.run(x))
    np.testing.assert_array_equal(engine.run(rows[3]), engine.run(x[3]))
    np.testing.assert_array_equal(engine.run(rows, check_finite=True), engine.run(x))
    np.testing.assert_array_equal(engine.logits(rows), engine.logits(x))


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e39])
def test_checked_rows_are_looked_at_before_anything_runs(bad):
    """By row and column, whatever the layout and however many rows there are; a vector's row is 0."""
    engine, rows = Engine(network("small", "int8")), np.zeros((700, 64))
    rows[650, 63] = bad
    with pytest.raises(InputError, match=r"input row 650, column 63 \(counted from 0\)"):
        engine.run(rows, check_finite=True)
    with pytest.raises(InputError, match="input row 0, column 63"):
        engine.run(rows[650], check_finite=True)
    assert engine.run(rows[:650], check_finite=True).shape == (650, 10)
    assert engine.run(rows[0], check_finite=True).shape == (10,)


def test_a_dynamic_engine_keeps_few_programs_and_takes_any_batch():
    """Batches of many sizes in turn, more than 256 rows too: a program for a whole block and one for the rest."""
    engine = Engine(quantize(random_model([6, 5, 3], ["relu", "linear"]), precision="int8-dynamic"))
    rows = random_rows(300, 6)
    for count in (1, 3, 200, 256, 3, 300, 1):
        part = rows[:count]
        np.testing.assert_array_equal(engine.logits(part), logits(engine.model, trace(engine.model, part)))
        np.testing.assert_array_equal(engine.run(part), engine.logits(part))
        assert len(engine._programs) <= 2


@pytest.mark.parametrize("kind", ["columns first", "reversed", "not aligned"])
@pytest.mark.parametrize("count", [1, 256])
def test_rows_that_blas_would_copy_are_copied_into_the_arena(kind, count):
    """A network that multiplies the user's own rows: no second array of 786 KB beside the plan, nor of one row."""
    engine, x = Engine(random_model([768, 8], ["linear"])), random_rows(count, 768)
    rows = {
        "columns first": np.repeat(x, 2, axis=1)[:, ::2],
        "reversed": x[:, ::-1],
        "not aligned": np.frombuffer(b"." + x.tobytes(), np.float32, x.size, 1).reshape(x.shape),
    }[kind]
    rows = rows[0] if count == 1 else rows
    expected = engine.run(np.array(rows, np.float32))
    engine.run(rows)
    with traced() as peak:
        found = engine.run(rows)
        assert peak() < found.nbytes + (2900 if count == 1 else 12_000)  # a row has 3,072
    np.testing.assert_array_equal(found, expected)
