"""Names that an exporter spelled otherwise are found again."""

from __future__ import annotations

from edge_runtime.numerics import respelled

IRIS = ("sepal length (cm)", "sepal width (cm)", "target")
AS_INPUTS = ("sepal_length__cm_", "sepal_width__cm_")


def test_columns_are_known_by_the_names_that_skl2onnx_gives_them() -> None:
    """All but letters and digits becomes _, those of other alphabets included."""
    assert respelled(IRIS, AS_INPUTS) == dict(zip(IRIS, AS_INPUTS, strict=False))
    assert respelled(("größe in m",), ("größe_in_m",)) == {"größe in m": "größe_in_m"}


def test_nothing_is_guessed() -> None:
    """A name that is there, that two columns would have, or that differs otherwise stands for itself alone."""
    assert respelled(("a b", "a_b"), ("a_b",)) == {}
    assert respelled(("a b", "a-b"), ("a_b",)) == {}
    assert respelled(("A b",), ("a_b",)) == {}
