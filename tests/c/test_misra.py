"""MISRA C:2012, as cppcheck checks it: no rule is broken but those below, each for its reason."""

import re
import subprocess
from pathlib import Path

import pytest

import export
from tests.c.compilers import tool
from tests.c.generated import write_networks
from tests.c.networks import featured_networks

DEVIATIONS = {
    "2.5": "a header's macros are for the caller, who need not use them all",
    "4.1": "names are written in octal escapes, each of three digits: what follows cannot become a part of it",
    "8.7": "functions of the header are for the caller, wherever the file itself calls them too",
    "8.9": "a table stands beside its kind, not within the one function that reads it",
    "10.4": "an int8 times a uint8 is promoted to int, which holds it; and counts are compared with the header's sizes",
    "10.6": "the checker takes a constant to be as narrow as it can be: 4U is widened to uint32_t",
    "10.8": "a sum of a rounded step and a zero point lies within 0 to 255 when it is narrowed",
    "11.9": "0 stands for no table, so that no header is needed for NULL",
    "15.5": "the self-test returns at the first difference",
    "17.8": "pointers that are handed over walk through weights and inputs; a copy would be another register",
    "19.2": "a union reads the bits of a float, which C99 defines (6.5.2.3) and memcpy would take a library for",
}


@pytest.fixture(scope="module")
def broken(tmp_path_factory):
    """{rule: where}, in all files."""
    folder = tmp_path_factory.mktemp("misra")
    sources = write_networks(featured_networks(), folder)
    selftests = [f"-D{source.stem.upper()}_SELFTEST" for source in sources]
    command = [tool("cppcheck"), "--addon=misra", "--std=c99", "--quiet", "--enable=style", *selftests, *sources]
    result = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600)
    found = {}
    for line in result.stderr.splitlines():
        if match := re.match(r".*/(\w+\.[ch]:\d+):.*\[(?:misra-c2012-)?([\w.]+)\]$", line):
            found.setdefault(match[2], []).append(match[1])
    return found


def test_no_rule_is_broken_but_those_that_are_listed(broken):
    """And none is listed without need."""
    assert set(broken) == set(DEVIATIONS), broken


def test_the_page_names_every_deviation():
    """Whoever has to justify them finds them where the C export is described."""
    page = (Path(export.__file__).parent / "c_writer" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([\w., ]+) \(.*\|$", page, re.MULTILINE)
    named = {rule for row in rows for rule in row.split(", ")}
    assert set(DEVIATIONS) <= named
