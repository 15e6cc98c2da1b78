"""What the project depends on."""

import re
from pathlib import Path

import pytest

tomllib = pytest.importorskip("tomllib", reason="part of Python since 3.11")

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_IN_THE_SUITE = {"mypy", "ruff", "smallnet"}  # tools that look at the code, and the project itself


def bounds(requirements) -> dict[str, str]:
    """What a list of requirements says of each name: ">=1.24.2"."""
    found = (re.match(r"([A-Za-z0-9_-]+)(?:\[[\w,]+\])?(.*)", text) for text in requirements)
    return {match[1]: match[2] for match in found if match and match[1] not in NOT_IN_THE_SUITE}


def test_lower_bounds_are_the_versions_that_ci_tests():
    """Each bound of pyproject.toml is a line of .ci/oldest.txt, with which .ci/run runs the whole suite."""
    extras = PROJECT["optional-dependencies"]
    lists = [PROJECT["dependencies"], *(extras[name] for name in ("export", "c", "sklearn", "dev"))]
    wanted = bounds(bound for names in lists for bound in names)
    lines = (ROOT / ".ci" / "oldest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert {name: f">={tested.get(name)}" for name in wanted} == wanted
    assert set(tested) - set(wanted) == {"protobuf"}
    assert "install -q -r .ci/oldest.txt" in (ROOT / ".ci" / "run").read_text()


def test_nothing_is_bounded_above_without_a_reason():
    """Only torch is pinned, for its exporters, and never for those who use the project."""
    extras = PROJECT["optional-dependencies"]
    everything = [*PROJECT["dependencies"], *(text for extra in extras.values() for text in extra)]
    above = [text for text in everything if re.search(r"<|==|~=|!=", text.partition(";")[0])]
    assert [re.split("[=<~!]", text)[0] for text in above] == ["torch"]
