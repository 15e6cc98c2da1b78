"""The answers are the same under every limit: beside onnxruntime, tensor by tensor, and in the commands."""

import json
import re

import numpy as np
import pytest

from edge_runtime import BudgetExceeded, Engine, InputError, Limits, devices, load, save, selftest
from export.onnx_writer.writer import write_onnx
from export.quantization.quantizer import quantize
from export.quantization.test_rows import DEFAULT_ROWS, with_test_vectors
from export.verification.verify import verify
from tests.command import run_command
from tests.networks import random_model, random_rows

PRECISIONS = ("float32", "float16", "int8", "int8-dynamic")
BUDGETS = 20


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """{precision: (.npz, .onnx)} of a network that is too large for some devices unless its weights are mapped."""
    folder = tmp_path_factory.mktemp("limits")
    full = random_model([130, 160, 90, 10], ["relu", "tanh", "softmax"], standardize=True)
    rows = random_rows(200, 130)
    paths = {}
    for precision in PRECISIONS:
        model = with_test_vectors(quantize(full, rows, precision, "minmax"), rows)
        paths[precision] = (folder / f"{precision}.npz", folder / f"{precision}.onnx")
        save(model, paths[precision][0])
        write_onnx(model, paths[precision][1])
    return paths


def agrees(model, onnx_path, limits, rows):
    """Every rule of the comparison with onnxruntime holds, at two optimization levels, and the self-test passes."""
    report = verify(model, onnx_path, rows, limits=limits)
    engine = [check for check in report.checks if check.level == "engine"]
    assert [check.compared for check in engine] == [len(rows) * model.n_out]
    return report.ok and selftest(model, limits).ok


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("device", devices())
def test_under_each_device_s_limits_the_answers_are_onnxruntime_s(device, precision, files):
    """Weights read or mapped; a model that a device cannot hold is refused, and runs with the weights mapped."""
    path, onnx_path = files[precision]
    limits, rows = Limits(device=device, max_batch=16), random_rows(70, 130, seed=3)
    if (device, precision) == ("stm32g0b1", "float32"):  # 148 kB of weights, 147,456 bytes of RAM
        with pytest.raises(BudgetExceeded, match="what would fit: mmap"):
            Engine(load(path), limits)
    else:
        assert agrees(load(path), onnx_path, limits, rows)
    assert agrees(load(path, mmap=True), onnx_path, limits, rows)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_under_random_budgets_the_answers_are_onnxruntime_s(precision, files):
    """20 budgets between the smallest plan and no limit, both ends included, by plans that differ."""
    path, onnx_path = files[precision]
    model, rows = load(path), random_rows(70, 130, seed=4)
    with pytest.raises(BudgetExceeded) as refused:
        Engine(model, Limits(ram_bytes=1, max_batch=70))
    smallest, largest = refused.value.need_bytes, Engine(model, Limits(max_batch=70)).plan.total_bytes
    rng = np.random.default_rng(5)
    budgets = [smallest, largest, *(int(n) for n in rng.integers(smallest, largest, BUDGETS - 2))]
    plans = set()
    for budget in budgets:
        limits = Limits(ram_bytes=budget, max_batch=70)
        plan = Engine(model, limits).plan
        assert plan.total_bytes <= budget
        plans.add((plan.block, tuple(step.tile_rows for step in plan.steps)))
        assert agrees(model, onnx_path, limits, rows), budget
    assert len(plans) >= 3


@pytest.mark.parametrize("max_batch", [1, 3, 8, 300])
def test_a_dynamic_model_is_compared_in_the_batches_that_its_limit_allows(max_batch, files):
    """Its answers depend on the batch, so both engines get the same one; its vectors are one batch of eight."""
    path, onnx_path = files["int8-dynamic"]
    model, limits = load(path), Limits(max_batch=max_batch)
    assert verify(model, onnx_path, random_rows(20, 130, seed=6), limits=limits).ok
    if max_batch >= 8:
        assert selftest(model, limits).ok
    else:
        with pytest.raises(InputError, match=f"are one batch, the limit max_batch is {max_batch}"):
            selftest(model, limits)


# ---- the same limits in every command


def run(*arguments):
    result = run_command(*arguments)
    return result.exit_code, result.stdout, result.stderr


LIMITS = {
    "none": [],
    "device": ["--device", "stm32l4r5"],
    "flash": ["--flash-bytes", "200000"],
    "mapped": ["--mmap", "--ram-bytes", "100000"],
    "batch": ["--max-batch", "3"],
    "lean": ["--lean"],
    "slow": ["--speed-factor", "1.5", "--ram-bytes", "300000"],
}


@pytest.mark.parametrize("name", LIMITS)
def test_the_commands_take_the_same_limits_and_give_the_same_answers(name, files, tmp_path):
    """run, selftest, verify and bench under each kind of limit; run writes the same int8 bytes under all."""
    path, onnx_path = files["int8"]
    rows = random_rows(10, 130, seed=7)
    np.save(tmp_path / "x.npy", rows)
    limits = LIMITS[name]
    status, _, err = run("run", path, "--input", tmp_path / "x.npy", "--output", tmp_path / "y.npy", *limits)
    assert status == 0, err
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), Engine(load(path)).run(rows))
    assert run("selftest", path, *limits)[0] == 0
    assert run("verify", path, onnx_path, *limits)[0] == 0
    status, out, err = run("bench", path, "--batch", "4", "--seconds", "0.01", "--json", *limits)
    assert status == 0, err
    assert json.loads(out)["latency"][0]["batch"] == 4


TOO_TIGHT = {
    "RAM": (["--ram-bytes", "1000"], "the budget is 1,000 B"),
    "RAM of a device": (["--device", "stm32l4r5", "--ram-bytes", "1000"], "the budget is 1,000 B"),
    "mapped": (["--mmap", "--ram-bytes", "100"], "the budget is 100 B"),
    "flash": (["--flash-bytes", "20000"], "the flash is 20,000 B"),
}


@pytest.mark.parametrize("command", ["run", "selftest", "verify", "bench"])
@pytest.mark.parametrize("name", TOO_TIGHT)
def test_each_command_refuses_a_limit_that_cannot_be_kept(name, command, files, tmp_path):
    """Exit status 1, one line that says need, budget and what is missing."""
    path, onnx_path = files["int8"]
    np.save(tmp_path / "x.npy", random_rows(2, 130))
    rest = {"run": ["--input", tmp_path / "x.npy"], "verify": [onnx_path]}.get(command, [])
    limits, message = TOO_TIGHT[name]
    status, out, err = run(command, path, *rest, *limits)
    assert (status, out) == (1, "")
    assert message in err
    assert "missing" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("command", "rows"),
    [
        (["run", "{npz}", "--input", "{x}"], 5),
        (["bench", "{npz}", "--batch", "1", "--batch", "6", "--seconds", "0"], 6),
        (["selftest", "{npz}"], 8),
        (["verify", "{npz}", "{onnx}"], 8),
        (["verify", "{npz}", "{onnx}", "--data", "{x}"], 5),
    ],
)
def test_each_command_refuses_a_batch_beyond_the_limit_when_asked_to(command, rows, files, tmp_path):
    """One line that names the rows and the limit, status 2 and no result; a limit of as many rows lets them pass."""
    names = {"npz": files["int8"][0], "onnx": files["int8"][1], "x": tmp_path / "x.csv"}
    np.savetxt(names["x"], random_rows(5, 130), delimiter=",")
    line = [part.format_map(names) for part in command]
    status, out, err = run(*line, "--over-batch", "refuse", "--max-batch", "4")
    assert (status, out) == (2, "")
    assert err == f"error: input has {rows} rows, the limit --max-batch is 4; send fewer or raise it\n"
    assert run(*line, "--over-batch", "refuse", "--max-batch", rows)[0] == 0
    assert run(*line, "--over-batch", "split", "--max-batch", "4")[0] == 0


def test_bench_says_which_of_its_own_batches_a_limit_left_out(files):
    """In the conditions, as JSON and as text; where nothing is left out, nothing is said."""
    limited = ["bench", files["int8"][0], "--seconds", "0", "--max-batch", "8"]
    facts = json.loads(run(*limited, "--over-batch", "refuse", "--json")[1])
    assert [row["batch"] for row in facts["latency"]] == [1, 8]
    assert facts["conditions"]["batches_left_out"] == "32 and 256 (max_batch is 8)"
    assert "batches_left_out 32 and 256 (max_batch is 8)" in " ".join(
        run(*limited, "--over-batch", "refuse")[1].split()
    )
    assert "batches_left_out" not in run(*limited)[1]


def test_a_batch_beyond_the_limit_is_split_or_refused_as_asked(files, tmp_path):
    """`--over-batch refuse` names the limit; an unknown policy or device lists the known ones."""
    path = files["int8"][0]
    np.save(tmp_path / "x.npy", random_rows(5, 130))
    command = ["run", path, "--input", tmp_path / "x.npy", "--max-batch", "4"]
    assert run(*command)[0] == run(*command, "--over-batch", "split")[0] == 0
    status, _, err = run(*command, "--over-batch", "refuse")
    assert status == 2
    assert "5 rows, the limit --max-batch is 4" in err
    assert "'drop' is not one of 'refuse', 'split'" in run(*command, "--over-batch", "drop")[2]
    assert "expected one of esp32" in run(*command, "--device", "pdp11")[2]


@pytest.mark.parametrize("vectors", [0, 3, DEFAULT_ROWS])
def test_what_a_refusal_offers_can_be_typed_and_fits(vectors, tmp_path):
    """Each export that is named, typed with data for DATA, writes no more than the bytes that are named."""
    rows = random_rows(60, 64)
    np.savez(tmp_path / "data.npz", x=rows)
    save(with_test_vectors(random_model([64, 32, 10], ["relu", "softmax"]), rows, vectors), tmp_path / "m.npz")
    too_little = (tmp_path / "m.npz").stat().st_size - 1
    run = ("run", tmp_path / "m.npz", "--input", tmp_path / "data.npz", "--output", tmp_path / "y.npy")
    refused = run_command(*run, "--flash-bytes", too_little)
    assert refused.exit_code == 1
    offered = re.findall(r"(export [^;(]+) \(([\d,]+) B\)", refused.stderr)
    assert len(offered) == (7 if vectors else 3)
    for index, (line, need) in enumerate(offered):
        precision = line.split()[2]
        words = line.replace("--calibrate DATA", "").split()
        words[1:1] = [tmp_path / "m.npz", "--calibrate", tmp_path / "data.npz", "--out", tmp_path / str(index)]
        assert run_command(*words).exit_code == 0, line
        size = (tmp_path / str(index) / f"m.{precision}.npz").stat().st_size
        most, spare = int(need.replace(",", "")), 1024 if precision in ("int8", "int4") else 0
        assert most - spare <= size <= most
