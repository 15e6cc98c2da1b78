"""One check for each kind of argument: what fits comes back as a plain value, all else is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_runtime import InputError, ModelError
from edge_runtime.arguments import INPUT_CHECKS, MODEL_CHECKS, shown
from trainer import ConfigurationError
from trainer.config import CHECKS


class Unwritable:
    """What raises when it is asked for its text, its truth or its items."""

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __iter__(self) -> Any:
        raise TypeError("no items")


def test_what_was_found_is_shown_in_one_line() -> None:
    """Cut to its length; by its type where Python cannot or will not write it."""
    assert shown(np.eye(2)) == "array([[1., 0.], [0., 1.]])"
    assert shown("a\nb") == "'a\\nb'"
    assert (len(shown("x" * 100)), len(shown("x" * 100, 40))) == (80, 40)
    assert (shown(10**5000), shown(Unwritable())) == ("a int", "a Unwritable")


def test_what_fits_comes_back() -> None:
    """NumPy's numbers as Python's; what is gone through as a tuple, mappings as another dictionary."""
    fitting = {
        True: INPUT_CHECKS.flag("f", np.bool_(True)),
        "a": INPUT_CHECKS.choice("c", np.str_("a"), ("a", "b")),
        3: INPUT_CHECKS.whole("w", np.int8(3), 0),
        2.5: INPUT_CHECKS.number("n", np.float32(2.5), above=0),
        ("x", "y"): INPUT_CHECKS.items("i", iter(["x", "y"]), "texts"),
    }
    for expected, found in fitting.items():
        assert found == expected
    assert (type(INPUT_CHECKS.flag("f", np.bool_(False))), type(INPUT_CHECKS.whole("w", np.int8(3), 0))) == (bool, int)
    given = {"a": "b"}
    assert INPUT_CHECKS.mapping("m", given, "a mapping") == given is not INPUT_CHECKS.mapping("m", given, "a mapping")
    for optional in (None, print):
        INPUT_CHECKS.function("f", optional, "a function")
    for path in ("a", Path("a")):
        INPUT_CHECKS.path("p", path)


VALUES: list[Any] = [
    None, "no", b"x", 5.5, float("nan"), 1j, [], {}, {1}, object(), np.eye(2), np.zeros((0, 3)), np.array(None),
    np.zeros(2, "M8[s]"), np.array(["1"]), slice(3), ..., int, 10**5000, Unwritable(), np.ma.masked,
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_all_else_is_refused_with_the_error_of_the_door(value: Any) -> None:
    """Nothing of another library gets out, whatever the value does when it is compared or asked for its truth."""
    for raised, checks in ((InputError, INPUT_CHECKS), (ModelError, MODEL_CHECKS), (ConfigurationError, CHECKS)):
        uses = [
            lambda checks=checks: checks.flag("it", value),
            lambda checks=checks: checks.choice("it", value, ("a", "b")),
            lambda checks=checks: checks.whole("it", value, 0, 9),
            lambda checks=checks: checks.number("it", value, low=6),
        ]
        for use in uses:
            with pytest.raises(raised, match=r"\Ait is .*, expected .+\Z"):
                use()


@pytest.mark.parametrize("value", ["ab", b"ab", {"a", "b"}, {"a": 1}, None, 5, np.array(3), Unwritable()])
def test_what_is_no_list_is_refused(value: Any) -> None:
    """A text would be taken letter by letter, and a set in any order."""
    with pytest.raises(InputError, match=r"\Anames is .*, expected texts\Z"):
        INPUT_CHECKS.items("names", value, "texts")


def test_an_iterator_is_no_list_where_it_is_gone_through_again() -> None:
    """It would be empty then."""
    with pytest.raises(InputError, match="expected texts"):
        INPUT_CHECKS.items("names", iter("ab"), "texts", is_kept=True)
    assert INPUT_CHECKS.items("names", range(2), "numbers", is_kept=True) == (0, 1)
