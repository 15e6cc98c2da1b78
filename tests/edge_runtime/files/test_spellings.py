"""One table in every spelling: the same names, numbers, texts and missing cells, or a refusal that names the reason."""

import gzip
import math

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from edge_runtime.errors import InputError
from edge_runtime.files.header import counts
from edge_runtime.files.table import read_table

LABELS = ("walk", "run", "sit down", "é", "a;b", "c,d", 'say "so"', "two\nlines")
NAMES = ("ax", "ay", "temp (°C)", "n", "p q")
NUMBERS = st.one_of(
    st.integers(-99999, 99999).map(str),
    st.floats(-1e6, 1e6).map(lambda value: f"{value:.4f}"),
    st.floats(-1e6, 1e6).map(repr).filter(lambda text: "e" not in text),
    st.just("?"),
)
REASONS = ("with a decimal comma, or", "decimal comma, or two columns", "has a decimal comma", "is no number here")


@st.composite
def tables(draw):
    """(names or (), rows of texts as a table with decimal points has them, place of the label)."""
    columns, rows = draw(st.integers(2, 4)), draw(st.integers(3, 12))
    cells = [[draw(NUMBERS) for _ in range(columns)] for _ in range(rows)]
    labels = draw(st.sampled_from([LABELS[:2], LABELS[:3], LABELS]))
    place = draw(st.integers(0, columns))
    for row in cells:
        row.insert(place, draw(st.sampled_from(labels)))
    for column in range(columns + 1):  # a column of missing cells alone says nothing of its kind
        if column != place:
            cells[0][column] = draw(NUMBERS.filter(lambda text: text != "?"))
    names = [*NAMES[:place], "label", *NAMES[place:columns]]
    return (names if draw(st.booleans()) else []), cells, place


@st.composite
def spellings(draw):
    """How to write it."""
    return {
        "delimiter": draw(st.sampled_from([",", ";", "\t", "|", " "])),
        "decimal": draw(st.sampled_from([".", ","])),
        "thousands": draw(st.booleans()),
        "quotes": draw(st.sampled_from(["needed", "all", "texts"])),
        "encoding": draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "latin-1"])),
        "end": draw(st.sampled_from(["\n", "\r\n", "\r"])),
        "comments": draw(st.integers(0, 2)),
        "sep_line": draw(st.booleans()),
        "is_last_line_ended": draw(st.booleans()),
        "trailing": draw(st.booleans()),
        "is_packed": draw(st.booleans()),
    }


def number_text(text, how):
    if text == "?":
        return text
    sign, text = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, point, rest = text.partition(".")
    if how["thousands"] and how["delimiter"] != " " and len(whole) > 3:
        mark = "." if how["decimal"] == "," else ","
        whole = f"{int(whole):,}".replace(",", mark)
    return sign + whole + (how["decimal"] if point else "") + rest


def quoted(cell, how, is_number):
    marks = (
        how["delimiter"]
        + '"\n\r'
        + ("," if how["delimiter"] == "," else "")
        + (" \t" if how["delimiter"] == " " else "")
    )
    if how["quotes"] == "all" or (how["quotes"] == "texts" and not is_number) or any(mark in cell for mark in marks):
        return '"' + cell.replace('"', '""') + '"'
    return cell


def written(names, rows, place, how):
    """The bytes of the table."""
    lines = [f"sep={how['delimiter']}"] if how["sep_line"] and how["delimiter"] != " " else []
    lines += ["# a comment", "# 1, 2; 3"][: how["comments"]]
    lines += [how["delimiter"].join(quoted(name, how, False) for name in names)] if names else []
    for row in rows:
        cells = [
            quoted(cell, how, False) if column == place else quoted(number_text(cell, how), how, True)
            for column, cell in enumerate(row)
        ]
        lines.append(how["delimiter"].join(cells))
    trailing = how["delimiter"] if how["trailing"] and how["delimiter"] != " " else ""
    first = len(lines) - len(rows) - bool(names)
    lines = [*lines[:first], *(line + trailing for line in lines[first:])]
    text = how["end"].join(lines) + (how["end"] if how["is_last_line_ended"] else "")
    content = text.encode(how["encoding"])
    return gzip.compress(content) if how["is_packed"] else content


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables(), spellings())
def test_every_spelling_gives_the_same_table(table, how):
    """Separator, decimal mark, thousands, quotes, encoding, line ends, comments, trailing marks, gzip."""
    names, rows, place = table
    assume(names or not counts([None if column == place else _value(cell) for column, cell in enumerate(rows[0])]))
    how = {
        **how,
        "encoding": "utf-8" if how["encoding"] == "latin-1" and not _is_latin(names, rows) else how["encoding"],
    }
    is_clear = any(len(cell.partition(".")[2]) > 3 for row in rows for cell in row)  # else 1.000 is one, or a thousand
    how = {**how, "thousands": how["thousands"] and is_clear}
    found, refusal = _read(written(names, rows, place, how))
    if found is None:
        assert any(reason in refusal for reason in REASONS), refusal
        assert how["decimal"] == "," or how["thousands"], refusal
        return
    wanted = [[math.nan if cell in ("?", row[place]) else float(cell) for cell in row] for row in rows]
    np.testing.assert_array_equal(found.numbers, wanted)
    assert [name.strip() for name in found.names] == names
    assert list(found.texts) == [place]
    assert [text.split() for text in found.texts[place]] == [row[place].split() for row in rows]
    missing = np.array([[cell == "?" for cell in row] for row in rows])
    np.testing.assert_array_equal(missing if found.missing is None else found.missing, missing)
    assert len(found.line_numbers) == len(rows)


def _value(cell):
    return None if cell == "?" else float(cell)


def _read(content):
    try:
        return read_table(content, "x.csv"), ""
    except InputError as error:
        return None, str(error)


def _is_latin(names, rows):
    return any("é" in cell for row in rows for cell in row) or "temp (°C)" in names
