"""What a command says of a failure, and the status that it ends with."""

from __future__ import annotations

import pytest

from edge_runtime import BudgetExceeded, InputError
from edge_runtime.console.exit_status import explain
from edge_runtime.errors import Alternative

SAID = {
    "mmap": "--mmap",
    "max_batch=4": "--max-batch 4",
    "mmap, max_batch=4": "--mmap --max-batch 4",
}


def error_of(*options: tuple[str, int], have: int = 10) -> BudgetExceeded:
    alternatives = tuple(Alternative(*option) for option in options)
    return BudgetExceeded("too large", need_bytes=100, have_bytes=have, layer="a", alternatives=alternatives)


@pytest.mark.parametrize("change", SAID)
def test_each_change_is_said_by_its_options(change: str) -> None:
    """As they can be typed; a bundle, which cannot map its weights, leaves that out."""
    error = error_of((change, 10))
    assert str(error) == f"too large; what would fit: {change} (10 B)"
    assert explain(error) == (f"too large; what would fit: {SAID[change]} (10 B)", 1)
    bundled = "use smaller layers or a larger budget" if "mmap" in change else f"what would fit: {SAID[change]} (10 B)"
    assert explain(error, is_bundle=True) == (f"too large; {bundled}", 1)


def test_what_others_offer_stands_beside() -> None:
    """After the engine's own changes, and only what needs less than now."""
    more = [Alternative("export it", 9), Alternative("export it larger", 100)]
    assert explain(error_of(("mmap", 10)), more=more)[0] == (
        "too large; what would fit: --mmap (10 B); export it (9 B)"
    )


def test_the_closest_is_named_if_nothing_fits() -> None:
    """Of all that is offered."""
    text = explain(error_of(("mmap", 50)), more=[Alternative("export it", 40)])[0]
    assert text == "too large; nothing smaller fits, export it would need 40 B: use smaller layers"
    assert explain(error_of())[0] == "too large; use smaller layers or a larger budget"


def test_advice_for_python_becomes_the_option() -> None:
    """max_bytes, max_memory and max_seconds, where they are to be raised, and nowhere else."""
    text, status = explain(InputError("max_bytes.csv: over the limit; raise max_bytes to read it"))
    assert (text, status) == ("max_bytes.csv: over the limit; raise --max-bytes to read it", 2)


def test_a_limit_that_is_named_is_named_by_its_option() -> None:
    """What `Limits` says of more rows than it allows."""
    text, status = explain(InputError("input has 5 rows, the limit max_batch is 4; send fewer or raise it"))
    assert (text, status) == ("input has 5 rows, the limit --max-batch is 4; send fewer or raise it", 2)
