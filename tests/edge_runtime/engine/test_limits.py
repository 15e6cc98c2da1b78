import sys

import numpy as np
import pytest

import edge_runtime.engine.engine as engine_module
from edge_runtime import BudgetExceeded, Engine, InputError, Limits, devices
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows

SIZES, ACTIVATIONS = [64, 32, 10], ["relu", "softmax"]


def network(precision="int8"):
    return quantize(random_model(SIZES, ACTIVATIONS), random_rows(100, 64), precision, "minmax")


@pytest.mark.parametrize("name", devices())
def test_a_device_gives_its_ram_and_flash_and_no_speed(name):
    """The profile's sizes hold; its predicted time is no factor of this machine's."""
    profile, limits = devices()[name], Limits(device=name)
    assert (limits.ram_bytes, limits.flash_bytes) == (profile.ram_bytes, profile.flash_bytes)
    assert limits.speed_factor == 1.0
    assert Engine(network(), limits).plan.total_bytes <= profile.ram_bytes


def test_what_is_stated_wins_over_the_device():
    """Explicit bytes stay; the profile fills in the rest."""
    profile = devices()["stm32l4r5"]
    limits = Limits(device="stm32l4r5", ram_bytes=50_000)
    assert (limits.ram_bytes, limits.flash_bytes) == (50_000, profile.flash_bytes)
    limits = Limits(device="stm32l4r5", flash_bytes=60_000, speed_factor=2.0)
    assert (limits.ram_bytes, limits.flash_bytes, limits.speed_factor) == (profile.ram_bytes, 60_000, 2.0)


def test_a_model_that_is_too_large_for_a_device_is_refused():
    """2.2 MB of weights exceed 144 KB of RAM and 512 KB of flash; mapping them helps with the RAM alone."""
    large = random_model([1000, 500, 100], ["relu", "linear"])
    with pytest.raises(BudgetExceeded, match="the flash is 524,288 B"):
        Engine(large, Limits(device="stm32g0b1"))
    with pytest.raises(BudgetExceeded, match="the budget is 147,456 B"):
        Engine(large, Limits(device="stm32g0b1", flash_bytes=4_000_000))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ram_bytes": 0}, "ram_bytes is 0, expected at least 1 byte"),
        ({"flash_bytes": -5}, "flash_bytes is -5, expected at least 1 byte"),
        ({"flash_bytes": 1.5}, "flash_bytes is 1.5, expected a whole number"),
        ({"max_batch": 0}, "max_batch is 0, expected at least 1 row"),
        ({"max_batch": True}, "max_batch is True, expected a whole number"),
        ({"speed_factor": 0.5}, "speed_factor is 0.5, expected a number from"),
        ({"speed_factor": float("nan")}, "speed_factor is nan"),
        ({"over": "drop"}, "over is 'drop', expected one of refuse, split"),
        ({"device": "pdp11"}, "device 'pdp11' is not known; expected one of esp32"),
    ],
)
def test_a_limit_out_of_range_is_an_input_error(fields, message):
    """Each message says what was found and what was expected."""
    with pytest.raises(InputError, match=message):
        Limits(**fields)


@pytest.mark.parametrize("wrong", [{"ram_bytes": 3}, {}, 64_000, "stm32l4r5"])
def test_limits_of_another_type_are_an_input_error(wrong):
    """An engine says what it found and what it expected, for an empty dict too."""
    with pytest.raises(InputError, match=r"limits is .*, expected a Limits such as Limits\(ram_bytes=65536\), or None"):
        Engine(network(), wrong)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize("rows", [0, 1, 5, 6, 23])
def test_split_runs_any_number_of_rows_and_refuse_names_the_limit(precision, rows):
    """With `over="split"` the answer is that of parts of at most max_batch rows; by default it is an InputError."""
    model, x = network(precision), random_rows(rows, 64)
    split = Engine(model, Limits(max_batch=5, over="split"))
    assert split.plan.block <= 5
    parts = [Engine(model).run(x[start : start + split.plan.block]) for start in range(0, rows, split.plan.block)]
    expected = np.concatenate([np.empty((0, 10), np.float32), *parts])
    np.testing.assert_allclose(split.run(x), expected, rtol=0, atol=0 if precision == "int8" else 1e-6)
    refuse = Engine(model, Limits(max_batch=5))
    if rows <= 5:
        np.testing.assert_array_equal(refuse.run(x), split.run(x))
    else:
        with pytest.raises(InputError, match=rf"{rows} rows, the limit max_batch is 5"):
            refuse.run(x)


def test_a_split_batch_of_a_dynamic_model_is_quantized_part_by_part():
    """Each part has its own grid, as if the caller had sent the parts; without the policy the whole is refused."""
    model, x = network("int8-dynamic"), random_rows(11, 64)
    x[0] *= 100  # so that the grid of the whole is another one
    engine = Engine(model, Limits(max_batch=4, over="split"))
    parts = [engine.run(x[start : start + 4]) for start in (0, 4, 8)]
    np.testing.assert_array_equal(engine.run(x), np.concatenate(parts))
    assert (engine.run(x) != Engine(model).run(x)).any()
    with pytest.raises(InputError, match="max_batch is 4"):
        Engine(model, Limits(max_batch=4)).run(x)


class FakeClock:
    """A clock that moves when it is asked to, when someone sleeps, and a little with every look."""

    def __init__(self):
        self.now, self.slept = 0.0, 0.0

    def perf_counter(self):
        """The time, in seconds."""
        self.now += 1e-6
        return self.now

    def sleep(self, seconds):
        """Let time pass."""
        self.now += seconds
        self.slept += seconds


def work_for(seconds, engine, clock):
    """Let each pass through the network take so long."""
    for activate in (True, False):
        program = engine._program(None, activate=activate)

        def enter(x, enter=program.enter):
            clock.now += seconds
            enter(x)

        engine._programs[None, activate] = program._replace(enter=enter)
    engine._ready[(64,)] = engine._programs[None, True]


CALLS = {
    "run": lambda engine: engine.run(np.zeros(64, np.float32)),
    "run doubles": lambda engine: engine.run(np.zeros(64)),
    "run checked": lambda engine: engine.run(np.zeros(64, np.float32), check_finite=True),
    "logits": lambda engine: engine.logits(np.zeros(64, np.float32)),
    "predict": lambda engine: engine.predict(np.zeros(64, np.float32)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
@pytest.mark.parametrize("factor", [1.5, 3.0, 100.0])
@pytest.mark.parametrize("seconds", [0.0001, 0.001, 0.5])
def test_a_run_takes_its_time_multiplied(monkeypatch, factor, seconds, call):
    """By a clock of our own: work of `seconds` ends after factor x seconds, the most of it slept and not spun."""
    clock = FakeClock()
    monkeypatch.setattr(engine_module, "time", clock)
    engine = Engine(network(), Limits(speed_factor=factor))
    work_for(seconds, engine, clock)
    started = clock.now
    call(engine)
    assert clock.now - started == pytest.approx(factor * seconds, rel=0.001, abs=5e-6 * factor)
    wait = (factor - 1) * seconds
    assert clock.slept >= wait - 0.0021 if wait > 0.003 else clock.slept <= wait


def test_a_slowed_run_takes_the_path_of_one_that_is_not(monkeypatch):
    """The same calls in the same order: a factor multiplies the time of the fast path, not that of a longer one."""
    monkeypatch.setattr(engine_module.time, "sleep", lambda seconds: None)
    for x in (np.zeros(64, np.float32), np.zeros((4, 64), np.float32)):
        called = []
        for factor in (1.0, 1.000001):
            engine = Engine(network(), Limits(speed_factor=factor))
            engine.run(x)
            called.append(python_calls(lambda engine=engine, x=x: engine.run(x)))
        assert called[1] == [*called[0], "_stretch"]


def python_calls(action):
    """The names of the Python functions that an action calls, in order."""
    names = []
    sys.setprofile(lambda frame, event, _argument: names.append(frame.f_code.co_name) if event == "call" else None)
    try:
        action()
    finally:
        sys.setprofile(None)
    return [name for name in names if name != "<lambda>"]


def test_no_factor_looks_at_no_clock(monkeypatch):
    """A speed factor of 1 costs nothing."""
    monkeypatch.setattr(engine_module, "time", None)
    assert Engine(network(), Limits(speed_factor=1.0)).run(np.zeros((3, 64), np.float32)).shape == (3, 10)


def test_a_device_is_a_name():
    """Anything else is answered with the names there are."""
    for wrong in ("toaster", "", 5, ["esp32"]):
        with pytest.raises(InputError, match=r"is not known; expected one of .*esp32"):
            Limits(device=wrong)


@pytest.mark.parametrize("factor", [1, 1.0, 1e6])
def test_the_ends_of_what_a_factor_may_be_are_factors(factor):
    """Not slowed at all, and a million times."""
    assert Limits(speed_factor=factor).speed_factor == factor


@pytest.mark.parametrize("factor", [0.999, 1e6 + 1, float("inf"), "2", None])
def test_factors_beyond_them_are_refused(factor):
    """A factor below 1 would be a quicker processor; one beyond a million never ends."""
    with pytest.raises(InputError, match=r"speed_factor is .*, expected a number from 1.0 to 1,000,000"):
        Limits(speed_factor=factor)


def test_a_batch_is_held_against_the_stated_limit():
    """As many rows as max_batch are taken, and none more; without it, any number."""
    Limits(max_batch=4).require_batch(4)
    Limits(max_batch=4, over="split").require_batch(400)
    Limits().require_batch(10**9)
    with pytest.raises(InputError, match="input has 5 rows, the limit max_batch is 4; send fewer or raise it"):
        Limits(max_batch=4).require_batch(5)
