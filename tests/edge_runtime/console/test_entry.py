"""What holds before NumPy is imported."""

import os
import subprocess
import sys

import pytest

from edge_runtime.console.entry import set_threads

ALL = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
SET = dict.fromkeys(ALL, "1")
CASES = {
    # (arguments, what the user has set): what NumPy finds
    "one without a word": ([], {}, SET),
    "the option": (["run", "m.npz", "--threads", "3"], {}, dict.fromkeys(ALL, "3")),
    "the option in one word": (["run", "--threads=3", "m.npz"], {}, dict.fromkeys(ALL, "3")),
    "the last option": (["--threads", "3", "--threads=2"], {}, dict.fromkeys(ALL, "2")),
    "as a bundle takes it": (["--thr", "3"], {}, dict.fromkeys(ALL, "3")),
    "what the user has set": (["run"], {"OMP_NUM_THREADS": "4"}, {"OMP_NUM_THREADS": "4"}),
    "what the user has set for one library": ([], {"GOTO_NUM_THREADS": "4"}, {"GOTO_NUM_THREADS": "4"}),
    "the option before that": (["--threads", "2"], {"OMP_NUM_THREADS": "4"}, dict.fromkeys(ALL, "2")),
    "what was set to nothing": ([], {"OMP_NUM_THREADS": ""}, SET),
    "no number": (["--threads", "many"], {}, SET),
    "none": (["--threads", "0"], {}, SET),
    "too many": (["--threads", "9" * 5000], {}, SET),
    "no value": (["--threads"], {}, SET),
    "another's name": (["--", "--threads", "3"], {}, SET),
}


@pytest.mark.parametrize("case", CASES)
def test_numpy_finds_the_threads_that_were_asked_for(case):
    """The option decides, then the user's environment, then one; what is no number is left to the command."""
    arguments, environment, expected = CASES[case]
    found = dict(environment)
    set_threads(arguments, found)
    assert found == expected


LATE = """
import os, sys, types
import edge_runtime.console.entry as entry
def main(prog_name):
    print(os.environ["OPENBLAS_NUM_THREADS"], "numpy" in sys.modules, "click" in sys.modules)
sys.modules["late"] = types.SimpleNamespace(main=main)
entry.start("late", "x")
"""


def test_they_are_set_before_numpy_and_click_are_imported():
    """Later would be too late: the library reads them once."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    command = [sys.executable, "-c", LATE, "--threads", "2"]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["2", "False", "False"]


@pytest.mark.parametrize(("option", "status"), [("0", 2), ("many", 2), ("4097", 2), ("", 2), ("1", 0)])
def test_a_wrong_number_is_refused_in_one_line(option, status, tmp_path):
    """By the command, which says what it takes; after the command's name, as every option."""
    command = [sys.executable, "-m", "edge_runtime", "devices", "--threads", option]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == status
    assert len(result.stderr.splitlines()) == (status == 2)
