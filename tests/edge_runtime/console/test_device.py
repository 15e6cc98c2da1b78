"""`run` as a device and a bundle do it: tables by names, streams row by row, JSON lines."""

import contextlib
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Engine, save
from edge_runtime.schema import KEY, Column, Schema
from export.quantization.quantizer import quantize
from tests.command import run_command
from tests.networks import random_model, random_rows

SCHEMA = Schema((Column("ax"), Column("ay"), Column("place", ("in", "out"))), ("label",))


@pytest.fixture
def model(tmp_path):
    """A classifier of four inputs, read from three columns, in m.npz."""
    named = replace(random_model([4, 5, 3], ["relu", "softmax"]), class_names=("cat", "dog", "owl"))
    named = replace(named, metadata={**named.metadata, KEY: SCHEMA.text()})
    save(named, tmp_path / "m.npz")
    return named


def start(folder, *arguments):
    command = [sys.executable, "-m", "edge_runtime", "run", folder / "m.npz", "--input", "-", *arguments]
    return subprocess.Popen(
        list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def send(process, line):
    process.stdin.write(line)
    process.stdin.flush()


def test_columns_are_taken_by_their_names(model, tmp_path):
    """In any order, beside others, texts as one-hot; a missing column is refused by its name."""
    x = np.array([[1.5, 2, 1, 0], [3, 4, 0, 1]], np.float32)
    (tmp_path / "x.csv").write_text("label;place;ay;ax\ndog;in;2;1,5\ncat;out;4;3\n")
    result = run_command("run", tmp_path / "m.npz", "--input", tmp_path / "x.csv", "--output", tmp_path / "y.npy")
    assert result.exit_code == 0, result.stderr
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), Engine(model).run(x))
    assert "put in the model's order" in result.stderr
    (tmp_path / "x.csv").write_text("place,ay\nin,2\n")
    result = run_command("run", tmp_path / "m.npz", "--input", tmp_path / "x.csv")
    assert result.exit_code == 2
    assert "no column 'ax'" in result.stderr


def test_json_lines_hold_row_class_and_probabilities(model, tmp_path):
    """One object a row: its line in the file, the class that --classes names, the outputs to the last bit."""
    (tmp_path / "x.csv").write_text("# device\nax,ay,place\n1.5,2,in\n\n3,4,out\n")
    result = run_command("run", tmp_path / "m.npz", "--input", tmp_path / "x.csv", "--jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    outputs = Engine(model).run(np.array([[1.5, 2, 1, 0], [3, 4, 0, 1]], np.float32))
    assert [line["row"] for line in lines] == [3, 5]
    assert [line["class"] for line in lines] == [model.class_names[index] for index in outputs.argmax(axis=1)]
    for line, row in zip(lines, outputs, strict=True):
        assert tuple(line["probabilities"]) == model.class_names
        np.testing.assert_array_equal(np.float32(list(line["probabilities"].values())), row)
    result = run_command("run", tmp_path / "m.npz", "--input", tmp_path / "x.csv", "--jsonl", "--classes")
    assert set(json.loads(result.stdout.splitlines()[0])) == {"row", "class"}


def test_json_lines_of_other_models(tmp_path):
    """Targets by name; outputs by number without names; two classes of one output; what is not finite is null."""
    schema = Schema((Column("a"), Column("b")), ("price", "weight"))
    regression = random_model([2, 2], ["linear"])
    named = replace(regression, metadata={"target": "regression", KEY: schema.text()})
    binary = random_model([2, 1], ["sigmoid"])
    np.save(tmp_path / "x.npy", random_rows(2, 2))
    for model, kind, names in (
        (named, "values", ["price", "weight"]),
        (regression, "values", ["output_0", "output_1"]),
        (binary, "probabilities", ["0", "1"]),
    ):
        save(model, tmp_path / "m.npz")
        result = run_command("run", tmp_path / "m.npz", "--input", tmp_path / "x.npy", "--jsonl")
        found = [json.loads(line) for line in result.stdout.splitlines()]
        assert [line["row"] for line in found] == [0, 1]
        assert list(found[0][kind]) == names
        outputs = Engine(model).run(np.load(tmp_path / "x.npy"))
        np.testing.assert_array_equal([np.float32(line[kind][names[-1]]) for line in found], outputs[:, -1])


def test_json_lines_go_to_a_file_of_that_name(model, tmp_path):
    """Another suffix is refused before the model runs."""
    (tmp_path / "x.csv").write_text("1,2,in\n")
    given = ["run", tmp_path / "m.npz", "--input", tmp_path / "x.csv", "--jsonl", "--output"]
    assert run_command(*given, tmp_path / "y.jsonl").exit_code == 0
    assert json.loads((tmp_path / "y.jsonl").read_text())["row"] == 1
    result = run_command(*given, tmp_path / "y.csv")
    assert result.exit_code == 2
    assert "expected a name that ends in .jsonl" in result.stderr


@pytest.mark.parametrize("options", [[], ["--classes"], ["--jsonl"]])
def test_a_sensor_gets_its_answer_before_it_sends_the_next_row(model, tmp_path, options):
    """Each line is answered and flushed; the end of the stream ends the command with status 0."""
    process = start(tmp_path, *options)
    send(process, "ax,ay,place\n")
    for place in range(3):
        send(process, f"{place},2,in\n")
        if not options and not place:
            assert process.stdout.readline() == "cat,dog,owl\n"
        assert process.stdout.readline().strip()
    rest, _ = process.communicate()
    assert (rest, process.returncode) == ("", 0)


def test_the_rows_of_a_dynamic_model_are_one_batch_however_they_come(tmp_path):
    """Its answers depend on the rows beside: all are waited for, which is said, and the answers are a file's."""
    save(quantize(random_model([2, 6, 3], ["relu", "linear"]), precision="int8-dynamic"), tmp_path / "m.npz")
    (tmp_path / "x.csv").write_text("0.1,0.2\n40,-90\n-0.3,0.4\n")
    whole = run_command("run", tmp_path / "m.npz", "--input", tmp_path / "x.csv").stdout
    process = start(tmp_path)
    for line in (tmp_path / "x.csv").read_text().splitlines(keepends=True):
        send(process, line)
    out, errors = process.communicate()
    assert out == whole
    assert "all are read before the first is answered" in " ".join(errors.split())
    alone = start(tmp_path).communicate("0.1,0.2\n")[0]
    assert alone != whole.splitlines(keepends=True)[0]


def test_a_broken_line_ends_a_stream_after_the_answers_before_it(model, tmp_path):
    """Its number, what is wrong and what to do; status 2."""
    out, errors = start(tmp_path, "--classes").communicate("ax,ay,place\n1,2,in\n1,x,in\n1,2,in\n")
    assert len(out.splitlines()) == 1
    assert "row 3, column 'ay': 'x' is not a number" in errors
    assert "the 1 rows before it are answered: mend it, or start again with the next line" in errors


def test_a_stream_that_nobody_reads_ends(model, tmp_path):
    """A closed pipe is status 1, as for every command, without a word."""
    process = start(tmp_path)
    send(process, "7,2,in\n")
    assert process.stdout.readline() == "cat,dog,owl\n"
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        while process.poll() is None:
            send(process, "7,2,in\n" * 100)
    assert process.wait() == 1
    assert process.stderr.read() == ""
    process.stderr.close()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
