"""An engine of the native backend keeps the promises of every engine."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest

from edge_runtime import (
    Activation,
    BudgetExceeded,
    DynamicQuantizedDense,
    Engine,
    InputError,
    Limits,
    Model,
    load,
    save,
    selftest,
)
from edge_runtime.engine import native_backend
from edge_runtime.errors import NativeUnavailable
from edge_runtime.native import native_bytes
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from tests.compilers import hide_compilers, needs_compiler
from tests.memory import traced
from tests.networks import random_model, random_rows

SIZES = [64, 33, 10]


def model_of(precision, hidden="relu", sizes=SIZES):
    return quantize(
        random_model(sizes, [hidden] * (len(sizes) - 2) + ["softmax"]), random_rows(200, sizes[0]), precision
    )


@pytest.fixture
def no_compiler(tmp_path, monkeypatch):
    """A machine without one."""
    hide_compilers(monkeypatch, tmp_path)


def test_numpy_is_the_backend_that_nobody_asked_for():
    """Nothing is compiled unless it is asked for; a name that is none is refused with those that are."""
    engine = Engine(model_of("int8"))
    assert (engine.backend, engine.backend_reason) == ("numpy", "")
    with pytest.raises(InputError, match="backend is 'fast', expected one of numpy, native, auto"):
        Engine(model_of("int8"), backend="fast")


def test_auto_takes_numpy_where_there_is_no_compiler_and_says_so(no_compiler):
    """The answers are NumPy's; the reason is that of the refusal that "native" meets."""
    model, rows = model_of("int8"), random_rows(3, 64)
    engine = Engine(model, backend="auto")
    assert engine.backend == "numpy"
    assert "no C compiler found" in engine.backend_reason
    np.testing.assert_array_equal(engine.run(rows), Engine(model).run(rows))
    with pytest.raises(NativeUnavailable, match="no C compiler found"):
        Engine(model, backend="native")


@needs_compiler
def test_auto_is_native_where_it_can_be():
    """And says no reason."""
    engine = Engine(model_of("int8"), backend="auto")
    assert (engine.backend, engine.backend_reason) == ("native", "")
    assert repr(engine).endswith("rows at once, native)")


def test_int8_dynamic_layers_run_in_numpy():
    """Their grid needs the whole batch: "auto" says so, "native" refuses by the layer's name."""
    zeros = np.zeros(1, np.float32)
    model = Model((DynamicQuantizedDense("d", np.ones((2, 1), np.int8), zeros, zeros + 1, Activation.of("linear")),))
    assert Engine(model, backend="auto").backend_reason.startswith(
        "compiled kernels do not run layer 'd' (int8-dynamic)"
    )
    with pytest.raises(NativeUnavailable, match="take the numpy backend"):
        Engine(model, backend="native")


def test_codes_of_more_than_8_bits_run_in_numpy():
    """As above, by the layer's name."""
    model = model_of("int8-a16")
    reason = "compiled kernels have codes of 8 bits, those of layer 'dense0' (int8-a16) have more; take the numpy"
    assert Engine(model, backend="auto").backend_reason == f"{reason} backend"
    with pytest.raises(NativeUnavailable, match="codes of 8 bits"):
        Engine(model, backend="native")


def test_lean_is_for_numpy():
    """It asks for no copies of the weights, and the kernels need packed ones."""
    model, limits = model_of("int8"), Limits(lean=True)
    assert Engine(model, limits, "auto").backend == "numpy"
    with pytest.raises(NativeUnavailable, match="lean keeps no copies"):
        Engine(model, limits, "native")


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int4"])
def test_the_plan_adds_up(precision):
    """Weights as stored, packed arrays, arena; each layer's packed bytes are those that its network holds."""
    model = model_of(precision, "tanh")
    engine = Engine(model, backend="native")
    plan, backend = engine.plan, engine._backend
    assert plan.arena_bytes == backend._arena.nbytes
    assert plan.widened_bytes == sum(step.widened_bytes for step in plan.steps)
    held = sum(network._memory.nbytes for network in backend._networks)
    assert held == plan.widened_bytes == sum(native_bytes(backend._library, layer) for layer in model.layers)
    parts = (plan.weight_bytes, plan.other_bytes, plan.widened_bytes, plan.arena_bytes, plan.temporary_bytes)
    assert plan.total_bytes == sum(parts)
    assert "widened" in str(plan)


@needs_compiler
def test_a_mapped_model_holds_packed_arrays_alone(tmp_path):
    """The weights stay in the file; the answers are the same."""
    save(model_of("int8"), tmp_path / "m.npz")
    mapped = Engine(load(tmp_path / "m.npz", mmap=True), backend="native")
    assert mapped.plan.weight_bytes == mapped.plan.other_bytes == 0
    rows = random_rows(5, 64)
    np.testing.assert_array_equal(mapped.run(rows), Engine(load(tmp_path / "m.npz"), backend="native").run(rows))


@needs_compiler
def test_a_budget_is_kept_by_fewer_rows_at_once():
    """The most rows that fit; below a single row's need "native" refuses with the numbers, and "auto" asks NumPy."""
    model, rows = model_of("int8"), random_rows(300, 64)
    whole = Engine(model, backend="native")
    small = Engine(model, Limits(ram_bytes=whole.plan.total_bytes - 1), "native")
    assert small.plan.block == whole.plan.block // 2
    assert small.plan.total_bytes < whole.plan.total_bytes
    np.testing.assert_array_equal(small.run(rows), whole.run(rows))
    least = Engine(model, Limits(max_batch=1), "native").plan.total_bytes
    with pytest.raises(
        BudgetExceeded, match=rf"needs {least:,} B, the budget is {least - 1:,} B, missing 1 B"
    ) as caught:
        Engine(model, Limits(ram_bytes=least - 1), "native")
    assert (caught.value.need_bytes, caught.value.have_bytes) == (least, least - 1)
    engine = Engine(model, Limits(ram_bytes=least - 1), "auto")
    assert engine.backend == "numpy"
    assert f"missing {1:,} B" in engine.backend_reason
    with pytest.raises(BudgetExceeded):
        Engine(model, Limits(flash_bytes=100), "native")


@needs_compiler
def test_more_rows_than_allowed_are_refused_or_split():
    """As `limits.over` says; split rows have the same bits."""
    model, rows = model_of("int8"), random_rows(11, 64)
    with pytest.raises(InputError, match="the limit max_batch is 4"):
        Engine(model, Limits(max_batch=4), "native").run(rows)
    split = Engine(model, Limits(max_batch=4, over="split"), "native").run(rows)
    np.testing.assert_array_equal(split, Engine(model, backend="native").run(rows))


@needs_compiler
@pytest.mark.parametrize("n_in", [64, 5000])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 300])
def test_any_number_type_and_layout_gives_the_same_answers(n_in, count):
    """Lists, float64, integers, steps and Fortran order; rows are copied, or read where they are."""
    model = model_of("int8", sizes=[n_in, 33, 10])
    engine, numpy = Engine(model, backend="native"), Engine(model)
    rows = np.rint(random_rows(count, n_in) * 3)
    for given in (rows, rows.astype(np.float64), rows.astype(np.int16), np.asfortranarray(rows), rows.tolist()):
        if count or isinstance(given, np.ndarray):
            np.testing.assert_array_equal(engine.logits(given), numpy.logits(rows))
    wide = np.repeat(rows, 2, axis=1)[:, ::2]
    assert count < 2 or not wide.flags.c_contiguous
    np.testing.assert_array_equal(engine.logits(wide), numpy.logits(rows))
    np.testing.assert_array_equal(engine.predict(rows), numpy.predict(rows))


@needs_compiler
def test_bad_rows_are_refused_in_the_same_words():
    """Shapes, types, and values that are not finite, by row and column."""
    native, numpy = (Engine(model_of("int8"), backend=name) for name in ("native", "numpy"))
    bad = random_rows(3, 64)
    bad[2, 5] = np.nan
    for rows, check in ((random_rows(2, 63), False), ([["a"] * 64], False), (bad, True)):
        said = []
        for engine in (native, numpy):
            with pytest.raises(InputError) as caught:
                engine.run(rows, check_finite=check)
            said.append(str(caught.value))
        assert said[0] == said[1]
    assert np.isfinite(native.run(bad)).all()


@needs_compiler
def test_answers_are_the_callers_own():
    """A later run does not change them."""
    engine, rows = Engine(model_of("float32"), backend="native"), random_rows(2, 64)
    first = engine.run(rows[0])
    before = first.copy()
    engine.run(rows[1])
    np.testing.assert_array_equal(first, before)


@needs_compiler
def test_what_numpy_tells_of_layers_the_kernels_do_not():
    """A trace is computed plainly; a profile is refused, because all layers are one call."""
    engine, rows = Engine(model_of("int8"), backend="native"), random_rows(2, 64)
    assert "dense0.accumulator" in engine.trace(rows)
    with pytest.raises(InputError, match="profile an engine of the numpy backend"):
        engine.profile(rows)


@needs_compiler
@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda engine: pickle.loads(pickle.dumps(engine))])
def test_a_copy_is_native_too(duplicate):
    """With an arena of its own and the same answers."""
    engine, rows = Engine(model_of("int8"), backend="native"), random_rows(4, 64)
    other = duplicate(engine)
    assert other.backend == "native"
    assert other._backend._arena is not engine._backend._arena
    np.testing.assert_array_equal(other.run(rows), engine.run(rows))


@needs_compiler
def test_a_trained_networks_selftest_runs_natively():
    """int8 bit for bit, and float32 within the bound; the result says what computed it."""
    for precision in ("int8", "float32"):
        result = selftest(with_test_vectors(model_of(precision), random_rows(50, 64)), backend="native")
        assert result.ok
        assert result.backend == "native"


@needs_compiler
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_threads_on_one_engine_and_on_their_own_get_their_answers(precision):
    """The kernels let other threads go on; no thread sees a bit of another's rows."""
    model, rows = model_of(precision), random_rows(8 * 3, 64).reshape(8, 3, 64)
    shared = Engine(model, backend="native")
    expected = [shared.run(part).tobytes() for part in rows]
    right = [0] * 8

    def work(index):
        own = Engine(model, backend="native")
        for run in range(500):
            engine = own if run % 2 else shared
            right[index] += engine.run(rows[index]).tobytes() == expected[index]

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [500] * 8


@needs_compiler
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_goes_on_with_the_engine():
    """It has the packed weights and the library of its parent."""
    engine, row = Engine(model_of("int8"), backend="native"), random_rows(1, 64)[0]
    expected = engine.run(row).tobytes()
    child = os.fork()
    if child == 0:
        os._exit(0 if engine.run(row).tobytes() == expected else 1)
    assert os.waitpid(child, 0)[1] == 0


@needs_compiler
def test_runs_allocate_nothing_but_their_answers():
    """Traced by tracemalloc: after the first run of a size another takes the result and some objects."""
    engine, rows = Engine(model_of("int8"), backend="native"), random_rows(256, 64)
    engine.run(rows)
    with traced() as peak:
        engine.run(rows)
        assert peak() < 256 * 10 * 4 + 4000


@needs_compiler
@pytest.mark.parametrize("count", [1, 3, 300])
def test_rows_are_copied_where_the_address_of_an_array_is_not_known(monkeypatch, count):
    """As under another Python than CPython: the same answers, from rows in any layout."""
    model, rows = model_of("int8"), random_rows(count, 64)
    expected = Engine(model, backend="native").run(rows)
    monkeypatch.setattr(native_backend, "data_offset", lambda: 0)
    engine = Engine(model, backend="native")
    np.testing.assert_array_equal(engine.run(rows), expected)
    np.testing.assert_array_equal(engine.run(np.asfortranarray(rows)), expected)
    np.testing.assert_array_equal(engine.run(rows[0]), expected[0])
