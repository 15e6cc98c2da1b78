"""What every command takes, what help lists, and what shells complete."""

import os
import re
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from edge_runtime import devices
from edge_runtime.console.cli import main as device_main
from edge_runtime.engine.limits import OVER_BATCH
from export.commands.cli import main
from export.commands.export_files import FORMATS
from export.commands.fine_tuning import TRAINED_IN
from export.onnx_writer.int8_forms import FORMS
from export.quantization.drops import METRICS
from export.quantization.quantizer import PRECISIONS
from export.quantization.ranges import METHODS
from tests.command import run_command
from trainer.activations import DERIVATIVES
from trainer.optimizers import OPTIMIZERS
from trainer.schedules import SCHEDULES

EVERY = tuple(main.places)
BOTH = [(group, name) for group in (main, device_main) for name in group.places]
TEXT_OF_ITS_OWN = {
    "output": "a name that stands in the file",
    "label": "a name that stands in the file, or a number",
    "drop": "the same",
    "features": "the same",
    "one_hot": "the same, or auto",
    "keep": "the name of a layer and a precision",
}  # parameters that are neither chosen, a file nor a number
CHOICES = {
    ("train", "--activation"): set(DERIVATIVES) - {"softmax"},
    ("train", "--optimizer"): OPTIMIZERS,
    ("train", "--quantization-aware"): TRAINED_IN,
    ("train", "--schedule"): SCHEDULES,
    ("export", "--precision"): (*PRECISIONS, "auto", "all"),
    ("export", "--method"): (*METHODS, "auto"),
    ("diagnose", "--precision"): PRECISIONS[1:],
    ("export", "--form"): FORMS,
    ("export", "--metric"): METRICS,
    ("export", "--format"): FORMATS,
    ("run", "--over-batch"): OVER_BATCH,
    ("bench", "--over-batch"): OVER_BATCH,
    ("verify", "--device"): devices(),
    ("selftest", "--device"): devices(),
}


def completed(*words, of=main):
    """What a shell is offered for the last word."""
    return [item.value for item in ShellComplete(of, {}, "smallnet", "_X").get_completions(list(words[:-1]), words[-1])]


@pytest.mark.parametrize(("command", "option"), CHOICES)
def test_a_fixed_set_is_listed_completed_and_held(command, option):
    """Help shows all that the library knows, shells complete it, and what is not in it is refused in one line."""
    expected = set(CHOICES[command, option])
    assert set(completed(command, option, "")) == expected
    name = sorted(expected)[0]
    assert name in completed(command, option, name[:-1])
    shown = " ".join(run_command(command, "--help").stdout.split())
    part = shown[shown.index(f" {option} ") :]
    listed = re.search(r"\[([^]]*)\]|One of ([^ ]+(, [^ ]+)*)\.", part)
    assert set(re.split(r"\||, ", listed[1] or listed[2])) == expected
    rest = {"run": ["--input", "x.csv"]}.get(command, [])
    places = [] if command == "train" else ["m.npz", "m.onnx"] if command == "verify" else ["m.npz"]
    result = run_command(command, *places, *rest, option, "pdp11")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "pdp11" in result.stderr
    assert all(each in result.stderr for each in expected)


@pytest.mark.parametrize(("group", "name"), BOTH)
def test_every_parameter_has_a_type_that_is_checked_and_completed(group, name):
    """A file is a click.Path and a fixed set a click.Choice, so that shells complete them; each option has its help."""
    for parameter in group.get_command(click.Context(group), name).params:
        is_text = type(parameter.type) is click.types.StringParamType
        assert not is_text or parameter.name in TEXT_OF_ITS_OWN, parameter.name
        words = f"{parameter.metavar} {parameter.name}"
        names_a_file = any(word in words for word in ("PATH", "FILE", "path", "MODEL", "FOLDER", "checkpoint"))
        assert isinstance(parameter.type, click.Path) or not names_a_file, parameter.name
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name


@pytest.mark.parametrize("columns", ["60", "80"])
@pytest.mark.parametrize(("group", "name"), BOTH)
def test_help_is_whole(group, name, columns, monkeypatch):
    """No line is wider than the terminal, no sentence is cut, and at 80 columns the example is one line to copy."""
    monkeypatch.setenv("COLUMNS", columns)
    context = click.Context(group, info_name="smallnet")
    command = group.get_command(context, name)
    shown = command.get_help(click.Context(command, parent=context, info_name=name))
    assert max(map(len, shown.splitlines())) <= int(columns)
    letters = "".join(shown.split())  # lines may end at a hyphen
    assert "..." not in letters.replace("[,N...]", "")
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert all("".join(option.help.split()) in letters for option in options)
    (example,) = [line.strip() for line in command.help.splitlines() if "Example: " in line]
    assert columns != "80" or f"  {example}\n" in shown


@pytest.mark.parametrize(("group", "name"), BOTH)
def test_a_summary_is_one_line_of_80_columns(group, name, monkeypatch):
    """In the list of commands."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = group.get_help(click.Context(group, info_name="smallnet")).splitlines()
    assert [line.split(maxsplit=1)[1] for line in lines if line.startswith(f"  {name} ")] == [group.places[name].line]


def test_shells_complete_files():
    """Of models, data and outputs, which are plain files and folders to a shell."""
    for words in (("inspect", ""), ("verify", "m.npz", ""), ("run", "m.npz", "--input", ""), ("train", "--data", "")):
        items = ShellComplete(main, {}, "smallnet", "_X").get_completions(list(words[:-1]), words[-1])
        assert [item.type for item in items] == ["file"]


def test_commands_are_completed_without_being_imported():
    """With their lines, and in no more time than help takes: neither NumPy nor a command is loaded."""
    assert completed("") == list(EVERY)
    assert completed("de") == ["demo", "devices"]
    assert completed("s", of=device_main) == ["selftest"]
    assert "--version" in completed("--")
    code = (
        "import sys; from export.commands.cli import main; from click.shell_completion import ShellComplete; "
        "ShellComplete(main, {}, 'smallnet', '_X').get_completions([], ''); "
        "print(*{name.partition('.')[0] for name in sys.modules} & {'numpy', 'onnx', 'trainer'})"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == ""


def test_the_devices_are_read_by_those_who_ask_for_them():
    """Neither the list of commands nor the help of a command without --device opens the profiles."""
    code = (
        "import sys; from export.commands.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print('edge_runtime.device_profiles.profiles' in sys.modules)"
    )
    for arguments in (["--help"], ["train", "--help"], ["export", "--help"]):
        out = subprocess.check_output([sys.executable, "-c", code, *arguments], text=True)
        assert out.splitlines()[-1] == "False", arguments


@pytest.mark.parametrize("width", ["40", "80"])
def test_the_list_of_commands_cuts_no_line(width, monkeypatch):
    """Each command with its whole line, wrapped where the terminal is narrow."""
    monkeypatch.setenv("COLUMNS", width)
    shown = " ".join(run_command("--help").stdout.split())
    for name in EVERY:
        assert f"{name} {main.places[name].line}" in shown
    assert shown.replace("[ARGS]...", "").count("...") == 0


@pytest.mark.parametrize("command", EVERY)
def test_every_command_takes_threads_and_quiet_after_its_name(command):
    """In help once each, however often the command is looked up."""
    for _ in range(2):
        found = main.get_command(click.Context(main), command)
    names = [option.name for option in found.params]
    assert names.count("threads") == names.count("quiet") == 1
    assert "--threads N" in run_command(command, "--help").stdout


def test_quiet_leaves_results_warnings_and_errors(tmp_path):
    """No progress, no notes, no word on what to do next; the same results, and the same bytes in files."""
    results = {}
    for quiet in ([], ["--quiet"], ["-q"]):
        out = tmp_path / "m.npz"
        trained = run_command("train", "--epochs", "2", "--hidden", "3", "--out", out, *quiet)
        exported = run_command("export", out, "--calibrate", "digits", "--out", tmp_path, *quiet)
        results[" ".join(quiet)] = (trained, exported, out.read_bytes())
        assert trained.exit_code == exported.exit_code == 0
    loud, quiet = results[""], results["--quiet"]
    assert results["-q"][0].stdout == quiet[0].stdout
    assert loud[2] == quiet[2]
    assert "epoch" in loud[0].stderr
    assert "next: " in loud[0].stdout
    assert quiet[0].stdout == "".join(line for line in loud[0].stdout.splitlines(True) if "next: " not in line)
    assert "wrote" in loud[1].stderr
    assert quiet[1].stdout == loud[1].stdout
    kept = [line for line in loud[1].stderr.splitlines() if line.startswith("warning: ")]
    assert quiet[1].stderr.splitlines() == kept
    assert quiet[0].stderr == "".join(
        f"{line}\n" for line in loud[0].stderr.splitlines() if line.startswith("warning: ")
    )
    failed = run_command("inspect", tmp_path / "missing.npz", "-q")
    assert failed.exit_code == 2
    assert failed.stderr.startswith("error: ")
    assert "epoch" in run_command("train", "--epochs", "1", "--hidden", "3", "--out", tmp_path / "m.npz").stderr


def test_a_warning_of_python_is_one_line_with_quiet_too(tmp_path):
    """Whoever raised it."""
    code = (
        "import warnings; from edge_runtime.console.messages import be_quiet, one_line_warnings; be_quiet(True)\n"
        "with one_line_warnings(): warnings.warn('two\\nlines', UserWarning)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert result.stderr == "warning: two lines\n"
