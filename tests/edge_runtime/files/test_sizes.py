import pytest

from edge_runtime.files.sizes import parse_bytes


@pytest.mark.parametrize(("text", "expected"), [("1", 1), ("512K", 524_288), ("64m", 64 << 20), ("2G", 2 << 30)])
def test_letters_are_powers_of_1024(text, expected):
    """In either case."""
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "1.5M", "64X", "64KB", " 64K", "64K\n", "1e6", "\u0664", "9" * 17, "K", "1_000"]
)
def test_anything_else_is_refused_with_the_forms_that_are_taken(text):
    """Not the digits of other scripts either, which int() would take."""
    with pytest.raises(ValueError, match="expected bytes such as 1000000, 512K, 64M or 2G"):
        parse_bytes(text)


def test_zero_is_a_size_where_it_is_asked_for():
    """`bench --enforce 0` measures without a limit."""
    assert parse_bytes("0", least=0) == 0
