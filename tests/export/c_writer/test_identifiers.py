import keyword
import re

import pytest

from export.c_writer.identifiers import c_identifier, c_string, comment_text


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", "digits"),
        ("digits.int8", "digits_int8"),
        ("7segments", "model_7segments"),
        ("int", "int_model"),
        ("namespace", "namespace_model"),
        ("main", "main_model"),
        ("Math", "Math_model"),
        ("stdint", "stdint_model"),
        ("__init__", "init"),
        ("Größe", "Gro_e"),
        ("日本", "model"),
        ("", "model"),
        ("a/../b; system(1)", "a_b_system_1"),
        ("x" * 80, "x" * 48),
    ],
)
def test_any_text_becomes_an_identifier(name, expected):
    """Keywords, headers, digits, other letters and punctuation: of C and of C++, and never a reserved underscore."""
    assert c_identifier(name) == expected


@pytest.mark.parametrize("text", ["*/", "/*", "??/\n", "\\\n", "é", "\x00", *keyword.kwlist[:2]])
def test_a_comment_cannot_be_left(text):
    """Of what could end it or go on in the next line nothing is left."""
    assert re.fullmatch(r"[A-Za-z0-9 _.,:;=+()<>-]*", comment_text(text))


@pytest.mark.parametrize("text", ['"', "\\", "\n", "??=", "\x7f", "ü", "a1\x011"])
def test_a_string_is_of_plain_letters_and_octals(text):
    """An octal has three digits: the next letter cannot be taken for one of them."""
    literal = c_string(text)
    assert re.fullmatch(r'"([ !#-\[\]-~]|\\[0-7]{3})*"', literal)
    assert "?" not in literal
    found = re.sub(rb"\\(\d{3})", lambda octal: bytes([int(octal[1], 8)]), literal[1:-1].encode())
    assert found.decode() == text
