import csv

import pytest

from benchmarks import sweep
from edge_runtime import devices


@pytest.fixture(scope="module")
def rows():
    return sweep.sweep(["64-32-10", "784-64-10"], seconds=0.0005)


def test_the_sweep_has_one_row_for_each_combination(rows):
    """Two networks x four precisions x four batch sizes x fourteen devices and none, each once."""
    keys = {(row["network"], row["precision"], row["batch"], row["device"]) for row in rows}
    assert len(keys) == len(rows) == 2 * 4 * 4 * 15
    assert {key[3] for key in keys} == {"none", *devices()}
    assert all(set(row) <= set(sweep.COLUMNS) for row in rows)


def test_each_row_keeps_its_limits_or_says_what_is_missing(rows):
    """A plan within the RAM and an artifact within the flash, with a time; or the missing bytes and no time."""
    for row in rows:
        if row["fits"] == "yes":
            assert row["ram_bytes"] is None or row["planned_bytes"] <= row["ram_bytes"]
            assert row["flash_bytes"] is None or row["artifact_bytes"] <= row["flash_bytes"]
            assert row["block"] <= row["batch"]
            assert row["here_us"] > 0
        else:
            assert row["missing"] > 0
            assert "here_us" not in row
    assert all(("predicted_ms_per_row" in row) == (row["device"] != "none") for row in rows)


def test_the_csv_is_written_without_matplotlib(monkeypatch, tmp_path, capsys):
    """The figures are the product; the picture is there where the plotting library is."""
    monkeypatch.setenv("SMALLNET_BENCHMARK_CHILD", "sweep")  # as in the process with one thread
    monkeypatch.setitem(__import__("sys").modules, "benchmarks._sweep_plot", None)
    argv = ["--out", str(tmp_path / "s"), "--seconds", "0.0001", "--networks", "64-32-10"]
    assert sweep.main(argv) == 0
    assert "pip install 'smallnet[plots]'" in capsys.readouterr().err
    with (tmp_path / "s.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 240
    assert tuple(table[0]) == sweep.COLUMNS
    with pytest.raises(SystemExit):
        sweep.main(["--networks", "64-32-11"])
