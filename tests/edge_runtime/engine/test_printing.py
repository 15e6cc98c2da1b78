"""What people see who print what they have: words and numbers, no arrays."""

import subprocess
import sys
from pathlib import Path

from edge_runtime import Activation, Engine, Limits
from edge_runtime.engine.profiler import LayerTime, RunProfile
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from tests.networks import random_model, random_rows


def int8_model():
    rows = random_rows(50, 64)
    model = quantize(random_model([64, 32, 10], ["relu", "softmax"]), rows, "int8", "minmax")
    return with_test_vectors(model, rows)


def test_a_model_is_one_line():
    """Its widths, precision, activations, parameters and test vectors; its layers likewise."""
    model = int8_model()
    assert repr(model) == "Model(64-32-10, int8, relu softmax, 2,410 parameters, 8 test vectors)"
    assert repr(model.layers[0]) == "QuantizedDense('dense0', 64 -> 32, relu)"
    plain = random_model([3, 1], ["sigmoid"])
    assert str(plain) == "Model(3-1, float32, sigmoid, 4 parameters, 0 test vectors)"
    assert str(plain.layers) == "(Dense('dense0', 3 -> 1, sigmoid),)"
    assert "Activation" in repr(Activation.of("relu"))  # what holds no arrays stays as it is


def test_a_plan_is_a_table():
    """The sum and its parts, and a row for each layer."""
    assert str(Engine(int8_model(), Limits(ram_bytes=14_000)).plan).splitlines() == PLAN.strip().splitlines()


PLAN = """
11,448 B, 8 rows at once: weights 2,704, beside them 2,368, widened 168, arena 6,208
layer   precision  stored bytes  widened bytes  widened at each run
------  ---------  ------------  -------------  -------------------
dense0  int8              2,304            128              16 rows
dense1  int8                400             40              32 rows
"""


def test_a_profile_is_a_table():
    """Microseconds, share, bytes and their sums; still a list of its layers."""
    layers = [LayerTime("dense0", 12.34e-6, 0.75, 3, 2400, 8448), LayerTime("dense1", 4e-6, 0.25, 2, 400, 0)]
    profile = RunProfile(layers)
    assert list(profile) == layers
    assert str(profile).splitlines() == PROFILE.strip().splitlines()
    rows = random_rows(3, 64)
    assert [layer.name for layer in Engine(int8_model()).profile(rows, runs=3)] == ["dense0", "dense1"]


PROFILE = """
layer         us  share  calls  stored bytes  widened bytes
----------  ----  -----  -----  ------------  -------------
dense0      12.3    75%      3         2,400          8,448
dense1       4.0    25%      2           400              0
all layers  16.3   100%      5         2,800          8,448
"""


def test_what_prints_is_imported_when_something_is_printed():
    """Loading and running a model, which a cold start waits for, does not wait for the tables."""
    code = (
        "import sys, numpy; from edge_runtime import Engine; from tests.networks import random_model; "
        "engine = Engine(random_model([3, 2], ['relu'])); engine.run(numpy.zeros(3)); engine.profile(numpy.zeros(3)); "
        "names = {'edge_runtime.console.reports', 'edge_runtime.files.text_table', 'edge_runtime.engine.refusal'}; "
        "print(len(names & set(sys.modules))); str(engine.plan); print('edge_runtime.files.text_table' in sys.modules)"
    )
    answer = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=Path(__file__).parents[3])
    assert answer.split() == ["0", "True"]
