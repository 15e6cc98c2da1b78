import json
import re

import pytest

from edge_runtime import InputError, save
from edge_runtime.artifact import save_bytes
from edge_runtime.errors import NativeUnavailable
from export import quantize, write_c
from export.verification import stated_artifact, verify_c
from tests.command import run_command
from tests.host_c import compiler
from tests.networks import random_model, random_rows

ROWS = random_rows(60, 13)


@pytest.fixture(autouse=True)
def has_compiler():
    """Every test here compiles."""
    compiler("cc")


def small(precision="int8", activations=("tanh", "relu", "softmax")):
    sizes = (13, *([9] * (len(activations) - 1)), 4)
    return quantize(random_model(sizes, activations, standardize=True), ROWS, precision, test_vectors=4)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize("logits", [False, True], ids=["activated", "logits"])
def test_every_tensor_of_the_c_file_is_compared(tmp_path, precision, logits):
    """int8 bit for bit, floats within their bounds; the stored vectors where no rows are given."""
    model = small(precision)
    source = write_c(model, tmp_path, "m", logits=logits)[0]
    for rows in (None, ROWS):
        report = verify_c(model, source, rows, artifact=save_bytes(model))
        assert report.ok
        assert report.rows == (4 if rows is None else 60)
        names = {check.tensor: check.rule for check in report.checks}
        assert {"dense0.output", "dense1.output", "logits" if logits else "output"} <= set(names)
        assert names["dense0.output"] == ("same bits" if precision == "int8" else "within bound")


def test_the_first_layer_that_differs_is_named(tmp_path):
    """A bias that somebody changed breaks its layer and none before it."""
    model = small()
    source = write_c(model, tmp_path, "m")[0]
    text = source.read_text()
    bias = re.search(r"m_bias1\[9\] = \{\n    (-?\d+)", text)
    source.write_text(text[: bias.start(1)] + str(int(bias[1]) + 5000) + text[bias.end(1) :])
    report = verify_c(model, source, ROWS)
    assert not report.ok
    assert report.first_diverging_layer == "dense1.output"


def test_a_change_that_no_row_reaches_is_said(tmp_path):
    """A weight of an input whose code is 0 in every row: the same answers, and a line. A whole file has none."""
    model, rows = small(), ROWS.copy()
    rows[:, 0] = -1e6
    source, content = write_c(model, tmp_path, "m")[0], save_bytes(model)
    assert verify_c(model, source, rows, artifact=content).notes == ()
    text = source.read_text()
    first = re.search(r"m_weight0\[\d+\] \w+ = \{\s+(-?\d+)", text)
    source.write_text(text[: first.start(1)] + str(-int(first[1])) + text[first.end(1) :])
    report = verify_c(model, source, rows, artifact=content)
    assert report.ok
    assert report.notes[0].startswith("m.c is not what export writes of this artifact now")
    save(model, tmp_path / "m.npz")
    facts = json.loads(run_command("verify", tmp_path / "m.npz", "--c", source, "--json").stdout)
    assert any("m.c is not what export writes" in text for text in facts["warnings"])


@pytest.mark.parametrize("what", ["another model", "not compiling", "no header", "another name", "stopping"])
def test_what_is_no_c_of_this_model_is_refused(tmp_path, what):
    """In words, before or after the compiler."""
    model = small()
    source, header = write_c(model, tmp_path, "m")
    artifact = save_bytes(small("float32")) if what == "another model" else None
    if what == "not compiling":
        source.write_text(source.read_text().replace("m_quantize", "else_quantize"))
    if what == "stopping":
        source.write_text(
            "#include <stdlib.h>\n"
            + source.read_text().replace("    uint32_t k;\n", "    uint32_t k = 0U; exit(3);\n", 1)
        )
    if what == "no header":
        header.unlink()
    if what == "another name":
        source = source.rename(tmp_path / "a b.c")
    said = {
        "another model": "was written from another artifact",
        "not compiling": "does not compile for this model",
        "another name": "expected NAME.c as export wrote it",
        "stopping": "ended with status 3",
        "no header": "No such file",
    }
    with pytest.raises((InputError, FileNotFoundError), match=said[what]):
        verify_c(model, source, ROWS, artifact=artifact)


def test_a_program_that_does_not_end_is_stopped(tmp_path):
    """After the seconds that --max-seconds gives to 256 rows, in one line that says so."""
    model = small()
    save(model, tmp_path / "m.npz")
    source = write_c(model, tmp_path, "m")[0]
    source.write_text(source.read_text().replace("for (k = n / 4U; k != 0U; --k)", "for (k = 4U; k != 0U; )"))
    done = run_command("verify", "--c", source, "--max-seconds", "0.2")
    assert done.exit_code == 2
    assert "did not answer 4 rows within 0.2 s" in done.stderr


@pytest.mark.parametrize(("command", "said"), [("false", "false (status 1)"), ("gcc -ffast-math", "-ffast-math")])
def test_a_compiler_of_the_variable_that_fails_is_named(monkeypatch, tmp_path, command, said):
    """With what it says, if anything, and where it was named; no path of a folder that is gone."""
    compiler("gcc")
    model = small()
    source = write_c(model, tmp_path, "m")[0]
    monkeypatch.setenv("CC", command)
    with pytest.raises(InputError, match="or correct or unset CC") as caught:
        verify_c(model, source, ROWS)
    assert said in str(caught.value)
    assert "/smallnet-" not in str(caught.value)


def test_a_machine_without_a_compiler_is_told_so(monkeypatch, tmp_path):
    """Nothing was compared: that is an error in one line, and not a success."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    model = small()
    with pytest.raises(NativeUnavailable, match=r"no C compiler found .*ziglang\)$"):  # there is no backend to take
        verify_c(model, write_c(model, tmp_path, "m")[0], ROWS)
    monkeypatch.undo()
    monkeypatch.setenv("CC", "no-such-compiler")
    save(model, tmp_path / "m.npz")
    done = run_command("verify", tmp_path / "m.npz", "--c", tmp_path / "m.c")
    assert (done.exit_code, "no-such-compiler" in done.stderr) == (2, True)


def test_the_command_finds_the_artifact_beside_the_c_file(tmp_path):
    """By the SHA-256 that the header states; exit status 0, and 1 for a file that was changed."""
    model = small()
    save(model, tmp_path / "some.npz")
    save(small("float32"), tmp_path / "other.npz")
    source = write_c(model, tmp_path, "m")[0]
    done = run_command("verify", "--c", source, "--json")
    assert (done.exit_code, json.loads(done.stdout)["form"]) == (0, "c")
    assert len(stated_artifact(source)) == 64
    source.write_text(source.read_text().replace("(float)sums[j - first]", "(float)(sums[j - first] + 900)"))
    assert run_command("verify", tmp_path / "some.npz", "--c", source).exit_code == 1
    (tmp_path / "some.npz").unlink()
    assert "is not beside it" in run_command("verify", "--c", source).stderr


@pytest.mark.parametrize("given", [["m.npz"], ["m.npz", "m.onnx", "--c", "m.c"], []])
def test_one_thing_is_compared_with_the_artifact(given):
    """Exit status 2 otherwise, in one line that says what is expected."""
    done = run_command("verify", *given)
    assert done.exit_code == 2
    assert "expected" in done.stderr
