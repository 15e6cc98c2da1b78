import json
import sys
import types

import pytest

import export.commands.measure as bench_module
from edge_runtime import Engine, InputError, Limits, load, save
from export.commands.enforce import ENGINE_CODE, engine_arguments, run_limited
from export.commands.measure import LEAST_CALLS, WARM_UP, batches_for, engine_call, load_seconds, measure
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows


@pytest.fixture(scope="module")
def model():
    return quantize(random_model([64, 32, 10], ["relu", "softmax"]), random_rows(50, 64))


def test_percentiles_are_ordered_and_throughput_follows_from_the_median(model):
    """p50 <= p90 <= p99, and every engine is called equally often."""
    calls = {"a": engine_call(Engine(model)), "b": lambda x: x.sum()}
    rows = measure(calls, 64, [1, 8], seconds=0.01)
    assert [(row.engine, row.batch) for row in rows] == [("a", 1), ("b", 1), ("a", 8), ("b", 8)]
    for row in rows:
        assert 0 < row.p50_s <= row.p90_s <= row.p99_s
        assert row.rows_per_second == row.batch / row.p50_s
        assert row.calls >= LEAST_CALLS
    assert rows[0].calls == rows[1].calls


@pytest.mark.parametrize(
    ("call_seconds", "warm_up", "counted"),
    [(0.0625, WARM_UP, 16), (0.75, 2, LEAST_CALLS), (3600.0, 1, LEAST_CALLS)],
)
def test_time_bounds_the_warm_up_and_the_calls_but_for_a_few(monkeypatch, call_seconds, warm_up, counted):
    """By a clock of our own, one second for each engine: up to five calls and then as many as fit, or one and three."""
    clock, told, made = types.SimpleNamespace(now=0.0), [], dict.fromkeys(("a", "b"), 0)
    monkeypatch.setattr(bench_module, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))

    def call(name):
        made[name] += 1
        clock.now += call_seconds

    calls = {"a": lambda x: call("a"), "b": lambda x: call("b")}
    rows = measure(calls, 4, [7], seconds=1.0, on_call=lambda *done: told.append(done))
    assert [row.calls for row in rows] == [counted, counted]
    assert [row.p50_s for row in rows] == [call_seconds, call_seconds]
    assert made == dict.fromkeys(calls, warm_up + counted)
    assert told == [*[(7, 0)] * (2 * warm_up), *[(7, count) for count in range(counted) for _ in calls]]


def test_a_process_of_its_own_is_not_slowed(model):
    """Its memory is measured, which a speed factor does not change; the other limits reach it."""
    passed = json.loads(engine_arguments("m.npz", Limits(speed_factor=1e6, max_batch=3))[1])
    assert (passed["speed_factor"], passed["max_batch"]) == (1.0, 3)


def test_a_batch_limit_leaves_the_default_batches_that_it_allows(model):
    """max_batch=10 measures 1 and 8, or all where batches are split; the smallest limit leaves one row."""
    assert batches_for(model, Limits(max_batch=10)) == [1, 8]
    assert batches_for(model, Limits(max_batch=1)) == [1]
    assert batches_for(model, Limits(max_batch=10, over="split")) == [1, 8, 32, 256]


def test_a_batch_that_is_asked_for_is_measured_or_refused_as_an_engine_would(model):
    """None is left out in silence: 8 rows under max_batch=2 are an InputError, 300 of an int8-dynamic model a batch."""
    assert batches_for(model, Limits(max_batch=2, over="split"), [8, 1]) == [8, 1]
    dynamic = quantize(random_model([64, 10], ["softmax"]), random_rows(50, 64), "int8-dynamic")
    assert batches_for(dynamic, Limits(), [1, 300]) == [1, 300]
    message = "input has 8 rows, the limit max_batch is 2"
    for network in (model, dynamic):
        with pytest.raises(InputError, match=message):
            batches_for(network, Limits(max_batch=2), [1, 8])
        with pytest.raises(InputError, match=message):
            Engine(network, Limits(max_batch=2)).run(random_rows(8, 64))


def test_loading_is_timed(monkeypatch, model, tmp_path):
    """From the file to a compiled engine, after a warm-up: the median, on a clock on which each load takes longer."""
    save(model, tmp_path / "m.npz")
    clock = types.SimpleNamespace(now=0.0, took=0)

    def slow_load(*arguments, **options):
        clock.took += 1
        clock.now += clock.took
        return load(*arguments, **options)

    monkeypatch.setattr(bench_module, "load", slow_load)
    monkeypatch.setattr(bench_module, "time", types.SimpleNamespace(perf_counter=lambda: clock.now))
    assert load_seconds(tmp_path / "m.npz", Limits()) == 4.0  # of 2 to 6; the first one, of 1, does not count


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS is enforced on Linux")
def test_a_limit_of_the_operating_system_stops_a_process_and_reports_what_one_needs(model, tmp_path):
    """Without a limit the need is reported; under half of it the process does not run, under twice of it it does."""
    save(model, tmp_path / "m.npz")
    arguments = engine_arguments(tmp_path / "m.npz", Limits())
    free = run_limited(ENGINE_CODE, arguments, 0)
    assert free.ok
    assert 0 < free.peak_rss_bytes < free.peak_address_space_bytes
    assert not run_limited(ENGINE_CODE, arguments, free.peak_address_space_bytes // 2).ok
    assert run_limited(ENGINE_CODE, arguments, free.peak_address_space_bytes * 2).ok


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="RLIMIT_AS is enforced on Linux")
def test_the_reason_of_a_failure_is_the_last_line(model, tmp_path):
    """A budget that the engine itself refuses is reported as such."""
    save(model, tmp_path / "m.npz")
    result = run_limited(ENGINE_CODE, engine_arguments(tmp_path / "m.npz", Limits(ram_bytes=100)), 0)
    assert not result.ok
    assert "budget is 100 B" in result.error
