import sys

import pytest

from edge_runtime import Engine, Limits, load, save
from export.commands.bench_report import bench, bench_text
from export.quantization.quantizer import quantize
from tests.command import run_command
from tests.compilers import needs_compiler
from tests.networks import random_model, random_rows

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are measured on Linux")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "m.npz"
    save(quantize(random_model([64, 32, 10], ["relu", "softmax"]), random_rows(50, 64), test_vectors=0), path)
    return path


@linux_only
def test_a_bench_states_everything_that_it_measured_and_how(path):
    """Percentiles, throughput, load time and memory of both engines, a prediction, and every condition; in text too."""
    limits = Limits(device="stm32l4r5", max_batch=4, over="split")
    facts = bench(path, limits, against=True, batches=(1, 9), seconds=0.01, mmap=True)
    assert [(row["engine"], row["batch"]) for row in facts["latency"]] == [
        ("numpy", 1), ("onnxruntime", 1), ("numpy", 9), ("onnxruntime", 9)
    ]  # fmt: skip
    assert set(facts["load_seconds"]) == {"numpy", "onnxruntime"}
    assert min(facts["load_seconds"].values()) > 0
    assert {"cpu", "cores", "python", "numpy", "onnxruntime", "blas_threads", "warm_up"} <= set(facts["conditions"])
    assert facts["limits"]["mmap"]
    assert facts["limits"]["ram_bytes"] == 655_360
    assert facts["predicted"]["device"] == "stm32l4r5"
    peaks = {name: result["peak_rss_bytes"] for name, result in facts["processes"].items()}
    assert 0 < peaks["import numpy"] < peaks["numpy"] < peaks["onnxruntime"]
    text = bench_text(facts)
    for part in ("p50 us", "p99 us", "rows/s", "load and compile: numpy", "planned memory", "predicted for stm32l4r5"):
        assert part in text


def test_a_bench_shows_the_plan_that_it_ran_with(path):
    """In one line, and as data: under a tight budget layers are widened tile by tile, which is why it is slow."""
    for limits, words in (
        (Limits(max_batch=4, over="split"), "widened at each run: no layer"),
        (Limits(max_batch=4, over="split", lean=True), "widened at each run: dense0 whole, dense1 whole"),
        (Limits(ram_bytes=7_000), "rows at a time)"),
    ):
        facts, plan = bench(path, limits, against=False, batches=(1,), seconds=0), Engine(load(path), limits).plan
        assert facts["planned_bytes"] == facts["plan"]["total_bytes"] == plan.total_bytes
        assert facts["plan"]["block"] == plan.block
        lean = [(step.name, step.tile_rows) for step in plan.steps if step.lean]
        assert [(step["layer"], step["tile_rows"]) for step in facts["plan"]["widened_each_run"]] == lean
        line = next(line for line in bench_text(facts).splitlines() if line.startswith("planned memory"))
        assert f"{plan.total_bytes:,} B, for {plan.block} rows at once; widened at each run: " in line
        assert words in line


@linux_only
def test_what_fits_here_and_not_there_is_measured(path):
    """Under a limit between what the two processes need, ours runs and onnxruntime's does not."""
    free = bench(path, Limits(), against=True, batches=(1,), seconds=0.01, enforce_bytes=0)["enforced"]
    needs = {name: result["peak_address_space_bytes"] for name, result in free.items()}
    between = (needs["numpy"] + needs["onnxruntime"]) // 2
    facts = bench(path, Limits(), against=True, batches=(1,), seconds=0.01, enforce_bytes=between)
    assert facts["enforced"]["numpy"]["ok"]
    assert not facts["enforced"]["onnxruntime"]["ok"]
    assert facts["enforced"]["onnxruntime"]["error"]
    assert f"onnxruntime, limit {between:,} B: did not run" in bench_text(facts)


@linux_only
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_the_command_ends_with_1_where_our_engine_did_not_run_under_the_limit(path, form):
    """What was measured is printed all the same; under a limit that is large enough the status is 0."""
    command = ["bench", path, "--batch", "1", "--seconds", "0", *form]
    result = run_command(*command, "--enforce", "1M")
    assert result.exit_code == 1
    assert "1,048,576" in result.stdout or "1048576" in result.stdout
    assert "Traceback" not in result.stderr
    assert run_command(*command, "--enforce", "1G").exit_code == 0


@needs_compiler
def test_the_backend_is_measured_under_its_own_name(tmp_path):
    """In latencies, load times and processes; what computes is said."""
    save(random_model([6, 5, 3], ["relu", "softmax"]), tmp_path / "m.npz")
    facts = bench(tmp_path / "m.npz", Limits(), against=False, batches=[1, 4], seconds=0, backend="auto")
    assert facts["backend"] == "native"
    assert {row["engine"] for row in facts["latency"]} == {"native"}
    assert facts["load_seconds"].keys() == {"native"}
    if facts["processes"]:
        assert facts["processes"]["native"]["ok"]
