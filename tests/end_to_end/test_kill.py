"""SIGKILL at random moments; `python -m benchmarks kill` is the long form."""

import os

import pytest

from tests.killing import CAMPAIGNS


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_killed_command_leaves_whole_files_and_no_litter(tmp_path, name):
    """Each file is the old or the new one to the byte, the next run tidies up, and a resumed training ends the same."""
    assert CAMPAIGNS[name](tmp_path, 6, 1) >= 3
