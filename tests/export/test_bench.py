import sys

import pytest

from edge_runtime import Limits, save
from edge_runtime.tables import bench_csv
from export.bench import bench, bench_text
from export.quantizer import quantize
from tests.networks import random_model, random_rows

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are measured on Linux")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "m.npz"
    save(quantize(random_model([64, 32, 10], ["relu", "softmax"]), random_rows(50, 64)), path)
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
def test_the_csv_has_one_row_for_each_engine_and_batch_size(path):
    """Every row has every column, the load time and the memory of its engine among them."""
    facts = bench(path, Limits(), against=True, batches=(1, 2), seconds=0.01)
    heading, *rows = (line.split(",") for line in bench_csv(facts).splitlines())
    assert len(rows) == 4
    for row in rows:
        named = dict(zip(heading, row, strict=True))
        assert float(named["p50_s"]) <= float(named["p90_s"]) <= float(named["p99_s"])
        assert float(named["load_s"]) == facts["load_seconds"][named["engine"]]
        assert int(named["peak_rss_bytes"]) == facts["processes"][named["engine"]]["peak_rss_bytes"]
