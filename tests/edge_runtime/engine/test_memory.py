"""What is planned is what is used, measured by tracemalloc in a process of its own."""

import gc
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from edge_runtime import Engine, Limits, load, save
from edge_runtime.engine.budget import make_plan
from edge_runtime.engine.plan_choice import BLOCKS
from export.quantization.quantizer import quantize
from tests.memory import traced
from tests.networks import random_model, random_rows


def object_bytes(layers, further_blocks=0):
    """The most that Python's own objects take beside the planned bytes: layers, views, bound calls.

    further_blocks: sizes of blocks that occur beside a single row, for `run` and again for `logits`: each is a program.
    Measured with Python 3.11 and NumPy 2.4 for 1 to 30 layers: at most 8 kB and 6.3 kB a layer (int8-a16 with tables)
    with one program, and 1.2 kB and 3.7 kB a layer for each further one. They are no part of the plan because they
    depend on the release of Python and are known only once they are made.
    """
    return 10_000 + 7_000 * layers + (1_500 + 4_000 * layers) * further_blocks


MEASURE = """
import gc, json, sys, tracemalloc
import numpy as np
from edge_runtime import Engine, Limits, load

path, ram_bytes, mapped = sys.argv[1], int(sys.argv[2]) or None, sys.argv[3] == "mmap"
limits = Limits(ram_bytes=ram_bytes)
other = load(sys.argv[4])  # what Python imports and caches once is no part of an engine
Engine(other).run(np.zeros(other.n_in, np.float32))
row = np.zeros(load(path).n_in, np.float32)
del other
gc.collect()
tracemalloc.start()
model = load(path, mmap=mapped)
engine = Engine(model, limits)
engine.run(row)
current, peak = tracemalloc.get_traced_memory()
arrays = tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)])
array_bytes = sum(trace.size for trace in arrays.traces)
for _ in range(10):
    engine.run(row)
before = tracemalloc.get_traced_memory()[0]
tracemalloc.reset_peak()
for _ in range(1000):
    engine.run(row)
after, run_peak = tracemalloc.get_traced_memory()
plan = engine.plan
print(json.dumps({
    "planned": plan.total_bytes, "file": plan.weight_bytes + plan.other_bytes, "arrays": array_bytes, "peak": peak,
    "layers": len(model.layers),
    "grown": after - before, "run_peak": run_peak - before, "block": plan.block, "result": 4 * model.n_out,
}))
"""


def measured(path, ram_bytes=0, mode="read"):
    command = [sys.executable, "-c", MEASURE, str(path), str(ram_bytes), mode, str(path.with_name("other.npz"))]
    return json.loads(subprocess.check_output(command, text=True))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    model, rows = random_model([784, 64, 10], ["relu", "softmax"]), random_rows(50, 784)
    deep = random_model([640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640], ["relu"] * 9 + ["linear"])
    for precision in ("float32", "float16", "int8", "int8-a16", "int4"):
        save(quantize(model, rows, precision, "minmax", test_vectors=0), folder / f"{precision}.npz")
        save(
            quantize(deep, random_rows(50, 640), precision, "minmax", test_vectors=0), folder / f"deep.{precision}.npz"
        )
    save(quantize(random_model([5, 4, 3], ["tanh", "softmax"]), random_rows(50, 5)), folder / "other.npz")
    return folder


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-a16", "int4"])
@pytest.mark.parametrize("mode", ["read", "mmap"])
@pytest.mark.parametrize("depth", ["", "deep."])
def test_arrays_take_exactly_what_was_planned(files, precision, mode, depth):
    """The file's bytes and NumPy's allocations add up to the plan, to 1 %; Python's objects are all that is beside."""
    found = measured(files / f"{depth}{precision}.npz", mode=mode)
    assert found["arrays"] + found["file"] == pytest.approx(found["planned"], rel=0.01, abs=2048)
    assert found["planned"] <= found["peak"] <= found["planned"] * 1.01 + object_bytes(found["layers"])


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-a16", "int4"])
def test_a_thousand_runs_allocate_nothing_but_their_results(files, precision):
    """Nothing grows, and the most that is held during a run is its result and a few small objects."""
    found = measured(files / f"{precision}.npz")
    assert found["grown"] <= 1024  # a counter of the measurement itself
    assert found["run_peak"] <= found["result"] + 2048


def test_an_activation_that_needs_room_is_planned():
    """GELU of a block takes three arrays of its size beside the arena: planned, and not exceeded."""

    model = random_model([50, 400, 3], ["gelu", "linear"])
    engine = Engine(model, Limits(max_batch=64))
    rows = random_rows(64, 50)
    engine.run(rows)
    assert engine.plan.temporary_bytes == 3 * 64 * 400 * 4
    tracemalloc.start()
    engine.run(rows)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak == pytest.approx(engine.plan.temporary_bytes, rel=0.01, abs=2048 + 4 * 64 * 3)


@pytest.mark.parametrize("precision", ["float16", "int8", "int8-a16"])
def test_tiles_of_many_rows_copy_no_part_of_them(precision):
    """A tile multiplies some columns of all rows, which the call that suits whole rows would copy first."""
    rows = random_rows(256, 600)
    model = quantize(random_model([600, 900, 3], ["relu", "linear"]), rows, precision, "minmax")
    engine = Engine(model, Limits(max_batch=256, lean=True))
    assert any(0 < step.tile_rows < 600 for step in engine.plan.steps)
    engine.run(rows)
    with traced() as peak:
        engine.run(rows)
        assert peak() < 256 * 3 * 4 + (128 << 10)  # the most that a call of NumPy takes for a moment


@pytest.mark.parametrize(("precision", "budget"), [("int8", 130_000), ("int4", 100_000)])
@pytest.mark.parametrize("mode", ["read", "mmap"])
def test_a_budget_is_kept_in_fact(files, precision, budget, mode):
    """Under such a budget the weights stay lean, and what is used stays within the budget and Python's objects."""
    found = measured(files / f"{precision}.npz", ram_bytes=budget, mode=mode)
    assert found["planned"] <= budget
    planning = 16 << 10  # the drafts of plans, while the engine is made
    assert found["peak"] <= found["planned"] * 1.01 + object_bytes(found["layers"]) + planning


@pytest.mark.parametrize("precision", ["float16", "int8", "int8-a16", "int4"])
def test_the_smallest_budget_is_kept_in_fact(files, precision):
    """Weights that are widened one row at a time take no more of Python's objects than those widened at once."""
    numpy_buffer = 32 << 10  # NumPy 1.24 converts int8 through 16 KiB of its own
    path = files / f"deep.{precision}.npz"
    budget = smallest_budget(load(path), 1 << 22)
    found = measured(path, ram_bytes=budget)
    assert found["peak"] <= budget * 1.01 + object_bytes(found["layers"]) + numpy_buffer


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_mapped_weights_are_not_counted(files, precision):
    """With mmap the plan is widened copies and arena; with lean weights the arena alone."""
    model = load(files / f"{precision}.npz", mmap=True)
    plan = Engine(model, Limits(lean=True)).plan
    assert plan.weight_bytes == plan.other_bytes == 0
    assert plan.total_bytes == plan.arena_bytes + plan.widened_bytes


def test_loading_packed_weights_takes_little_beside_the_file(tmp_path):
    """The checks and the certificate unpack in parts: half a million 4-bit weights are a quarter of a megabyte."""
    save(quantize(random_model([1001, 500], ["linear"]), random_rows(50, 1001), "int4", "minmax"), tmp_path / "m.npz")
    model = load(tmp_path / "m.npz")
    size = (tmp_path / "m.npz").stat().st_size
    for mapped, most in ((False, size), (True, 0)):
        with traced() as peak:
            again = load(tmp_path / "m.npz", mmap=mapped)
            assert peak() <= most + (90 << 10)
        assert again.layers[0].certificate == model.layers[0].certificate


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-a16", "int4"])
def test_no_two_live_buffers_overlap_and_every_budget_gives_the_same_answer(precision, seed):
    """Random budgets between the smallest plan and no limit: int8 the same bits, floats within their bound."""
    from edge_runtime.reference.bounds import output_bound

    rng = np.random.default_rng(seed)
    sizes = [int(n) for n in rng.integers(1, 60, 4)]
    model = random_model(sizes, ["relu", str(rng.choice(["tanh", "leaky_relu"])), "softmax"], seed, standardize=True)
    rows = random_rows(70, sizes[0], seed)
    model = quantize(model, rows, precision, "minmax")
    free = Engine(model)
    smallest = smallest_budget(model, free.plan.total_bytes)
    budget = int(rng.integers(smallest, free.plan.total_bytes + 1))
    tight = Engine(model, Limits(ram_bytes=budget))
    assert tight.plan.total_bytes <= budget
    if precision in ("int8", "int8-a16", "int4"):
        np.testing.assert_array_equal(tight.logits(rows), free.logits(rows))
    else:
        error = np.abs(tight.run(rows).astype(np.float64) - free.run(rows))
        assert (error <= output_bound(model, rows, activated=True)).all()


def smallest_budget(model, enough):
    """The smallest number of bytes with which an engine can be made, to 64 bytes, by bisection."""
    from edge_runtime import BudgetExceeded

    low, high = 0, enough
    while high - low > 64:
        middle = (low + high) // 2
        try:
            make_plan(model, Limits(ram_bytes=middle))  # what an engine begins with, and is refused by
            high = middle
        except BudgetExceeded:
            low = middle
    return high


@pytest.mark.parametrize("activation", ["relu", "tanh", "leaky_relu"])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "int8-dynamic", "int4"])
@pytest.mark.parametrize("layers", [1, 4, 30])
def test_what_stands_beside_a_plan_is_what_the_readme_says(tmp_path, layers, precision, activation):
    """Python's objects with one program, and with one for every size of block, for outputs and for logits."""
    sizes = [16] * (layers + 1)
    model = random_model(sizes, [activation] * (layers - 1) + ["linear"], standardize=True)
    save(quantize(model, random_rows(50, 16), precision, "minmax", test_vectors=0), tmp_path / "model.npz")
    rows = random_rows(256, 16)
    Engine(load(tmp_path / "model.npz")).run(rows[0])
    gc.collect()
    with traced() as peak:
        engine = Engine(load(tmp_path / "model.npz"))
        engine.run(rows[0])
        planned, one = engine.plan.total_bytes, peak()
        for call in (engine.run, engine.logits):
            for size in BLOCKS:
                call(rows[:size])
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
    assert one <= planned + object_bytes(layers)
    assert held <= planned + object_bytes(layers, 2 * len(BLOCKS) - 1)


CALLS = {
    "run": lambda engine, x: engine.run(x),
    "run checked": lambda engine, x: engine.run(x, check_finite=True),
    "logits": lambda engine, x: engine.logits(x),
    "predict": lambda engine, x: engine.predict(x),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["as they are", "doubles", "columns first", "reversed", "not aligned"])
@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("n_out", [1, 10])
def test_many_rows_take_no_more_than_the_plan_and_their_results(precision, n_out, kind, call):
    """Block by block, in each layout: 20,000 rows take their results and the 80 KiB that the page states."""
    model = quantize(random_model([96, 16, n_out], ["relu", "linear"]), random_rows(50, 96), precision, "minmax")
    x = random_rows(20_000, 96)
    rows = {
        "as they are": x,
        "doubles": x.astype(np.float64),
        "columns first": np.asfortranarray(x),
        "reversed": x[:, ::-1],
        "not aligned": np.frombuffer(b"." + x.tobytes(), np.float32, x.size, 1).reshape(x.shape),
    }[kind]
    engine = Engine(model)
    CALLS[call](engine, rows)
    with traced() as peak:
        result = CALLS[call](engine, rows)
        assert peak() <= result.nbytes + (80 << 10)
    expected = np.concatenate([CALLS[call](engine, np.array(part, np.float32)) for part in np.split(rows, 10)])
    np.testing.assert_allclose(result, expected, rtol=0, atol=0 if precision == "int8" else 1e-5)
