import hashlib
import json

import pytest

from tests.command import run_command


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Two runs of the demo in two folders, with the same seed."""
    runs = []
    for _ in range(2):
        folder = tmp_path_factory.mktemp("demo")
        result = run_command("demo", "--out", folder, "--json")
        assert result.exit_code == 0, result.output
        runs.append((folder, json.loads(result.stdout)["rows"]))
    return runs


def row(demos, precision):
    return next(row for row in demos[0][1] if row["precision"] == precision)


def test_two_runs_with_the_same_seed_write_the_same_bytes(demos):
    """All seven files, byte for byte."""
    digests = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()} for folder, _ in demos
    ]
    assert len(digests[0]) == 7
    assert digests[0] == digests[1]


def test_the_digits_are_read_as_well_as_promised(demos):
    """At least 97.0 % on rows never seen; float16 within 0.1 points, int8 within 0.5."""
    accuracy = {name: row(demos, name)["test_accuracy"] for name in ("float32", "float16", "int8")}
    assert accuracy["float32"] >= 0.970
    assert abs(accuracy["float16"] - accuracy["float32"]) <= 0.001
    assert abs(accuracy["int8"] - accuracy["float32"]) <= 0.005


def test_no_int8_value_differs_from_onnxruntime_on_any_sample(demos):
    """Every hidden tensor and the logits, on all 1,797 samples, at both levels."""
    int8 = row(demos, "int8")
    assert int8["int8_values_compared"] > 1797 * 2 * (64 + 32 * 3 + 10 * 2)
    assert int8["int8_values_differing"] == 0
    assert all(entry["verified"] for entry in demos[0][1])


def test_the_int8_file_with_its_test_vectors_is_at_most_10_kilobytes(demos):
    """And the other files are as large as their weights make them."""
    assert row(demos, "int8")["artifact_bytes"] <= 10_000
    assert row(demos, "float16")["artifact_bytes"] < row(demos, "float32")["artifact_bytes"]


def test_the_table_ends_with_the_files_and_the_next_command(tmp_path):
    """The text output names what was written and what to try."""
    result = run_command("demo", "--out", tmp_path / "demo", "--seed", "3")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split()[:2] == ["precision", ".npz"]
    assert any(line.strip().startswith(str(tmp_path / "demo" / "digits.int8.onnx")) for line in lines)
    assert lines[-1].startswith("next: smallnet inspect ")
