"""Everything that is printed for people fits the terminal, and `--wide` prints the rest."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import _NamedTextIOWrapper

from edge_runtime import devices, load, save
from edge_runtime.console import typed_program
from edge_runtime.console.cli import COMMANDS
from export import quantize, write_onnx
from export.quantization import with_test_vectors
from tests.command import run_command
from tests.networks import random_model, random_rows

HERE = "FOLDER"  # stands for the test's folder, which users have named, and may be of any length


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small model of the digits, and a large one whose layers have long names."""
    folder = tmp_path_factory.mktemp("widths")
    assert run_command("train", "--hidden", "12", "--epochs", "2", "--out", folder / "d.npz").exit_code == 0
    exported = ("export", folder / "d.npz", "--precision", "all", "--calibrate", "digits", "--out", folder)
    assert run_command(*exported).exit_code == 0
    rows = random_rows(300, 600)
    large = random_model([600, 700, 500, 400, 10], ["relu"] * 3 + ["softmax"], standardize=True)
    named = [replace(layer, name=f"encoder.block_{i}.mlp.fully_connected") for i, layer in enumerate(large.layers)]
    large = replace(large, layers=tuple(named), metadata={"why": "because of a long story " * 9})
    save(large, folder / "large.npz")
    int8 = with_test_vectors(quantize(large, rows, "int8", "minmax"), rows, 40)
    save(int8, folder / "large.int8.npz")
    write_onnx(int8, folder / "large.int8.onnx")
    np.save(folder / "x.npy", rows[:9])
    np.savez(folder / "rows.npz", x=rows, y=np.arange(300) % 10)
    return folder


CASES = [
    "devices",
    *(
        f"{command} FOLDER/{model}.npz"
        for model in ("d.int8", "d.float16", "large.int8")
        for command in ("devices", "inspect", "selftest")
    ),
    "inspect FOLDER/large.npz",
    "bench FOLDER/d.int8.npz --seconds 0 --against onnxruntime --device stm32l4r5 --enforce 2G",
    "bench FOLDER/large.int8.npz --seconds 0 --batch 1 --ram-bytes 4M --max-batch 8",
    "bundle FOLDER/d.int8.npz --out FOLDER/app.pyz --force",
    "demo --out FOLDER/demo",
    "export FOLDER/d.npz --precision all --precision int8-dynamic --calibrate digits --out FOLDER/e",
    "export FOLDER/large.npz --precision all --method minmax --calibrate FOLDER/rows.npz --out FOLDER/e",
    "import FOLDER/d.int8.onnx --out FOLDER/i.npz --data digits",
    "import FOLDER/large.int8.onnx --out FOLDER/i.npz",
    "import FOLDER/large.int8.onnx FOLDER/rows.npz",
    "train --hidden 3 --epochs 1 --out FOLDER/t.npz",
    "train --hidden 3 --epochs 1 --out FOLDER/t.npz --data FOLDER/rows.npz --target regression",
    "verify FOLDER/d.int8.npz FOLDER/d.int8.onnx --data digits",
    "verify FOLDER/d.float16.npz FOLDER/d.float16.onnx",
    "verify FOLDER/large.int8.npz FOLDER/large.int8.onnx",
    "verify FOLDER/d.int8.npz FOLDER/d.float16.onnx --data digits",
    "score FOLDER/d.int8.npz --data digits",
    "diagnose FOLDER/d.npz --data digits --precision float16",
    "diff FOLDER/d.npz FOLDER/d.int8.npz --data digits",
    "diff FOLDER/large.npz FOLDER/large.int8.npz",
    "diagnose FOLDER/large.npz FOLDER/large.int8.npz --data FOLDER/rows.npz",
    "run FOLDER/d.int8.npz --input FOLDER/x.npy --output FOLDER/y.npy",
]
COMMANDS_OF_ALL = (*COMMANDS, "demo", "train", "export", "verify", "score", "diagnose", "diff", "import", "bench")


LONG = ("demo", "train", "bench", "import")  # what takes seconds is measured at one width
WIDTHS = [(case, columns) for case in CASES for columns in ((80,) if case.startswith(LONG) else (60, 80, 200))]
VERDICTS = (
    ("selftest FOLDER/large.int8.npz", "ok: 40 rows, "),
    ("verify FOLDER/d.int8.npz FOLDER/d.int8.onnx --data digits", "ok: 1,797 rows, "),
    ("import FOLDER/d.int8.onnx --out FOLDER/i.npz --data digits", "1,797 rows (digits): agree "),
)


@pytest.mark.parametrize(("case", "columns"), WIDTHS)
def test_no_line_of_standard_output_is_wider_than_the_terminal(case, columns, folder, monkeypatch):
    """Names of the user's files and programs apart, which are given as they are; nothing has a colour."""
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(_NamedTextIOWrapper, "isatty", lambda _stream: True)
    result = run_command(*(word.replace(HERE, str(folder)) for word in case.split()), color=True)
    assert "Traceback" not in result.output, result.output
    assert "\x1b" not in result.output
    output = result.stdout.replace(typed_program(), "smallnet").replace(sys.executable, "python")
    lines = re.sub(rf"\S*{re.escape(str(folder))}\S*", "", output).splitlines()
    too_long = [line for line in lines if len(line) > columns]
    assert not too_long, "\n".join(too_long)


@pytest.mark.parametrize(("case", "beginning"), VERDICTS)
def test_a_verdict_is_one_line_if_the_output_is_not_a_terminal(case, beginning, folder, monkeypatch):
    """Whatever COLUMNS says: programs look for the line."""
    monkeypatch.setenv("COLUMNS", "40")
    lines = run_command(*(word.replace(HERE, str(folder)) for word in case.split())).stdout.splitlines()
    (verdict,) = [line for line in lines if line.startswith(beginning)]
    assert lines.index(verdict) + 1 == len(lines) or not lines[lines.index(verdict) + 1].startswith(" ")


def test_every_command_is_among_the_cases():
    """A new one is measured too."""
    assert {case.split()[0] for case in CASES} == set(COMMANDS_OF_ALL)


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("devices", ["536,870,912", "2x Cortex-M0+ (no FPU, no DSP), one core used", "int8 MACs/cycle", "measured"]),
        (
            "devices FOLDER/d.int8.npz",
            ["predicted ms", "assumed", "weakest figure", "mem_bandwidth_bytes_per_s: estimate"],
        ),
        ("inspect FOLDER/large.npz", ["weakest figure", "encoder.block_0.mlp.fully_connected", "largest accumulator"]),
        (
            "verify FOLDER/large.int8.npz FOLDER/large.int8.onnx",
            ["encoder.block_0.mlp.fully_connected.quantized_input"],
        ),
        ("verify FOLDER/d.int8.npz FOLDER/d.int8.onnx", ["same bits", "largest difference"]),
        (
            "export FOLDER/d.npz --calibrate digits --method minmax --out FOLDER/e",
            [".npz bytes", "decisions changed", "max abs error", "verified"],
        ),
    ],
)
def test_wide_prints_every_column_in_full(case, words, folder, monkeypatch):
    """At 80 columns a part of it is not there; neither is anything of it lost on a wide terminal."""
    arguments = [word.replace(HERE, str(folder)) for word in case.split()]
    monkeypatch.setenv("COLUMNS", "80")
    narrow, wide = run_command(*arguments).stdout, run_command(*arguments, "--wide").stdout
    assert all(word in wide for word in words)
    assert not all(word in narrow for word in words)
    monkeypatch.setenv("COLUMNS", "300")
    assert run_command(*arguments).stdout == wide or case.startswith(("inspect", "devices F"))


def test_figures_are_the_same_in_every_width(folder, monkeypatch):
    """What a narrow table has, the wide one has too, to the digit: bytes that are left, differences, scores."""
    monkeypatch.setenv("COLUMNS", "80")
    arguments = ["devices", folder / "d.int8.npz"]
    narrow, wide = run_command(*arguments).stdout.splitlines(), run_command(*arguments, "--wide").stdout.splitlines()
    for name in devices():
        short, long = (next(line.split() for line in text if line.startswith(f"{name} ")) for text in (narrow, wide))
        assert short == long[: len(short)]
        assert len(short) == 6


def test_a_bundle_is_no_wider(folder, tmp_path, monkeypatch):
    """Its help; and its verdict is one line where no terminal is."""
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command("bundle", folder / "large.int8.npz", "--out", tmp_path / "app.pyz").exit_code == 0
    assert load(folder / "large.int8.npz").test_vectors.inputs.shape == (40, 600)
    shown = subprocess.check_output([sys.executable, tmp_path / "app.pyz", "--help"], text=True)
    assert max(map(len, shown.splitlines())) <= 80
    verdict = subprocess.check_output([sys.executable, tmp_path / "app.pyz", "--selftest"], text=True)
    assert len(verdict.splitlines()) == 1
