"""How figures are printed."""

import pytest

from edge_runtime.console.reports import in_units


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1,023 B"),
        (1024, "1 KiB"),
        (147_456, "144 KiB"),
        (1536, "1.5 KiB"),
        (1_218_560, "1.2 MiB"),
        (150_000_000, "143 MiB"),
        (8 << 30, "8 GiB"),
        (5000 << 40, "5,000 TiB"),
    ],
)
def test_bytes_are_said_in_the_largest_unit(count, text):
    """Whole if they are, or if they have three digits before the point."""
    assert in_units(count) == text
