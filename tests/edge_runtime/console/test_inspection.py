import os
import re

import pytest

from edge_runtime import save
from edge_runtime.artifact import account
from edge_runtime.console import inspection
from edge_runtime.console.inspection import inspect_file
from edge_runtime.console.reports import inspection_text
from edge_runtime.files.bounded import read_file
from edge_runtime.schema import Column, Schema
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from tests.networks import random_model, random_rows


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_every_byte_of_a_file_is_accounted_for(tmp_path, precision):
    """Data, headers and the end of the directory add up to the file's size, with nothing negative."""
    rows = random_rows(30, 7)
    model = with_test_vectors(
        quantize(random_model([7, 5, 3], ["tanh", "softmax"], standardize=True), rows, precision), rows
    )
    save(model, tmp_path / "m.npz")
    file = account((tmp_path / "m.npz").read_bytes())
    parts = [part for member in file.members for part in (member.data_bytes, member.overhead_bytes)]
    assert sum(parts) + file.end_bytes == os.path.getsize(tmp_path / "m.npz")
    assert min(parts) > 0
    assert file.end_bytes == 22  # the end-of-directory record of a zip without a comment


def test_the_int8_artifact_is_compact(tmp_path):
    """784-64-10: at most 52,000 bytes and 1,024 a layer, test vectors apart."""
    model = quantize(random_model([784, 64, 10], ["relu", "softmax"]), random_rows(100, 784), test_vectors=0)
    save(model, tmp_path / "m.npz")
    assert os.path.getsize(tmp_path / "m.npz") <= 52_000 + 2 * 1024


def test_describe_states_layers_and_memory(tmp_path):
    """What `inspect` prints is plain data with the engine's own plan."""
    model = quantize(random_model([7, 5, 3], ["relu", "softmax"]), random_rows(30, 7))
    save(model, tmp_path / "m.npz")
    facts = inspect_file(tmp_path / "m.npz")
    assert facts["layer_sizes"] == [7, 5, 3]
    assert facts["layers"][0]["bytes"] == 7 * 5 + 5 * 4 + 5 * 4
    assert facts["memory"]["total_bytes"] == sum(
        facts["memory"][f"{part}_bytes"] for part in ("weight", "other", "widened", "arena", "temporary")
    )


def test_the_text_writes_every_number_of_bytes_with_separators(tmp_path):
    """In the tables as in the lines above them; the data keep plain integers, under the words of the headings."""
    model = quantize(random_model([784, 64, 10], ["relu", "softmax"]), random_rows(100, 784))
    save(model, tmp_path / "m.npz")
    facts = inspect_file(tmp_path / "m.npz")
    text = inspection_text({**facts, "devices": []}).removeprefix(str(tmp_path))
    first = facts["layers"][0]
    for number in (first["macs"], first["bytes"], first["largest_accumulator"], facts["file_bytes"]):
        assert type(number) is int
        assert f" {number:,}" in text
    assert "largest accumulator" in text
    assert not re.search(r"\d{4}", text)


def test_grids_of_more_than_8_bits_are_said(tmp_path):
    """How many bits each layer's inputs have: beside its precision, and with the grids in the data."""
    model = quantize(random_model([1500, 5, 3], ["relu", "softmax"]), random_rows(30, 1500), "int8-a16", "minmax")
    save(model, tmp_path / "m.npz")
    facts = inspect_file(tmp_path / "m.npz")
    assert [layer["input"]["bits"] for layer in facts["layers"]] == [15, 16]
    text = inspection_text({**facts, "devices": []})
    assert "int8-a16: 15 bits" in text
    assert "int8-a16: 16 bits" in text


def test_a_file_that_is_replaced_meanwhile_is_read_once(tmp_path, monkeypatch):
    """Each answer is about one file: its layers, members and devices belong together."""
    one, two = random_model([3, 4, 2], ["relu", "softmax"]), random_model([5, 2], ["linear"])
    save(two, tmp_path / "two.npz")
    reads = []

    def replaced(path, **options):
        save(one if len(reads) % 2 else two, path)
        reads.append(path)
        return read_file(path, **options)

    monkeypatch.setattr(inspection, "read_file", replaced)
    facts = inspect_file(tmp_path / "m.npz")
    assert reads.count(tmp_path / "m.npz") == 1
    assert facts["layer_sizes"] == [5, 2]
    assert {row["name"] for row in facts["members"]} >= {"layer0.weight.npy"}
    assert len(facts["layers"]) == 1
    assert facts["file_bytes"] == (tmp_path / "two.npz").stat().st_size


def test_the_columns_of_a_table_are_shown_in_words(tmp_path):
    """In place of the JSON in the metadata; what does not fit the model is said, and the rest is shown all the same."""
    schema = Schema((Column("ax"), Column("sex", ("F", "M"))), ("label",))
    for wanted, line in ((3, "columns: ax, sex (one of 'F', 'M')"), (4, "describes 3 inputs, the model takes 4")):
        model = random_model([wanted, 2], ["softmax"])
        model.metadata["schema"] = schema.text()
        save(model, tmp_path / "m.npz")
        facts = inspect_file(tmp_path / "m.npz")
        text = inspection_text({**facts, "devices": []})
        assert line in text
        assert '{"columns"' not in text
        assert facts["metadata"]["schema"] == schema.text()
