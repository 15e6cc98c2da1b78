from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime.errors import InputError, ModelError
from edge_runtime.files import Table
from edge_runtime.schema import Column, Schema, cell_texts, number_text
from tests.networks import random_model

SCHEMA = Schema((Column("ax"), Column("sex", ("F", "M")), Column("t", offset=1e15)), targets=("label",))


def table(names: str, *columns: list[object], first_line: int = 2) -> Table:
    """Columns of numbers, texts and None for missing cells; names apart by spaces, "" for no header."""
    numbers = np.full((len(columns[0]), len(columns)), np.nan)
    texts = {}
    for place, column in enumerate(columns):
        for row, cell in enumerate(column):
            if isinstance(cell, int | float):
                numbers[row, place] = cell
        if any(isinstance(cell, str) for cell in column):
            texts[place] = ["" if cell is None else str(cell) for cell in column]
    missing = np.array([[cell is None for cell in column] for column in columns]).T
    lines = np.arange(first_line, first_line + len(numbers))
    return Table(tuple(names.split()), numbers, texts, missing if missing.any() else None, lines, ())


GOOD = table("ax sex t", [1.5, 2.0], ["M", "F"], [1e15 + 1, 1e15 - 2])


def test_numbers_categories_and_offsets_become_inputs():
    """Each column in the model's order: numbers as they are, a one for the category, differences from the offset."""
    x, _, notes = SCHEMA.read(GOOD, "new.csv")
    assert x.dtype == np.float32
    assert x.tolist() == [[1.5, 0, 1, 1], [2, 1, 0, -2]]
    assert notes == ()


def test_another_order_is_put_right_and_said():
    """The same rows from a file whose columns stand in another order."""
    other = table("t ax sex", [1e15 + 1, 1e15 - 2], [1.5, 2.0], ["M", "F"])
    x, _, notes = SCHEMA.read(other, "new.csv")
    np.testing.assert_array_equal(x, SCHEMA.read(GOOD, "new.csv")[0])
    assert notes == ("the columns were put in the model's order",)


def test_a_column_that_lacks_is_refused_by_its_name():
    """With what the file has, and what the model takes."""
    with pytest.raises(InputError, match=r"new.csv: no column 'sex'; the file has 'ax', 't', the model takes 'ax', "):
        SCHEMA.read(table("ax t", [1.0], [2.0]), "new.csv")
    with pytest.raises(InputError, match="rename 'AX'"):
        SCHEMA.read(table("AX sex t", [1.0], ["F"], [2.0]), "new.csv")


def test_a_column_is_found_under_the_name_that_its_exporter_made_of_it():
    """skl2onnx has no blanks and brackets in names; what was taken for what is said."""
    schema = Schema((Column("length__cm_"), Column("width")))
    found = replace(table("a b", [1.0], [2.0]), names=("width", "length (cm)"))
    x, _, notes = schema.read(found, "new.csv")
    assert x.tolist() == [[2, 1]]
    assert notes == ("took column 'length (cm)' for 'length__cm_'", "the columns were put in the model's order")


def test_columns_that_are_too_many_are_left_out_and_said():
    """The label apart from what the model never saw; a name that is there twice is refused if it is needed."""
    wide = table("ax label sex t id", [1.0], ["walk"], ["F"], [1e15], [7])
    x, _, notes = SCHEMA.read(wide, "new.csv")
    assert x.tolist() == [[1, 1, 0, 0]]
    assert notes == (
        "left out what the model predicts: 'label'",
        "left out columns that the model does not know: 'id'",
    )
    with pytest.raises(InputError, match="column 'ax' is there 2 times"):
        SCHEMA.read(table("ax ax sex t", [1.0], [1.0], ["F"], [2.0]), "new.csv")


def test_without_a_header_the_place_decides_if_the_number_fits():
    """As many columns as the schema has; one more is refused, and so is one less."""
    nameless = replace(GOOD, names=())
    np.testing.assert_array_equal(SCHEMA.read(nameless, "f")[0], SCHEMA.read(GOOD, "f")[0])
    with pytest.raises(InputError, match=r"f: 4 columns without names, the model takes 3 .*is one of them the label"):
        SCHEMA.read(table("", [1.0], ["F"], [1e15], ["walk"]), "f")
    with pytest.raises(InputError, match="f: 2 columns without names"):
        SCHEMA.read(table("", [1.0], ["F"]), "f")


@pytest.mark.parametrize("header", ["0 1 2", "1 2 3"])
def test_a_header_that_only_counts_is_no_header(header):
    """As pandas writes it where there are no names."""
    x, _, notes = SCHEMA.read(replace(GOOD, names=tuple(header.split())), "f")
    np.testing.assert_array_equal(x, SCHEMA.read(GOOD, "f")[0])
    assert notes == ("the columns were taken by their place, not by the header",)


def test_a_model_of_a_table_without_names_reads_that_table_and_its_features_alone():
    """Columns are called by their places in the training table; a table of the features alone fits too."""
    schema = Schema((Column("column 2"), Column("column 4")), targets=("column 1",), table_width=4)
    whole = table("", ["a"], [1.0], [2.0], [3.0])
    assert schema.read(whole, "f")[0].tolist() == [[1, 3]]
    assert schema.read(table("", [1.0], [3.0]), "f")[0].tolist() == [[1, 3]]
    assert schema.read(table("p q", [1.0], [3.0]), "f")[0].tolist() == [[1, 3]]
    with pytest.raises(InputError, match="3 columns without names"):
        schema.read(table("", [1.0], [2.0], [3.0]), "f")


def test_an_unknown_category_is_refused_by_name_and_row():
    """With the categories that the model knows."""
    strange = table("ax sex t", [1.0, 2.0, 3.0], ["F", "X", "M"], [0, 0, 0])
    with pytest.raises(InputError, match=r"f: row 3, column 'sex': 'X' is not one of 'F', 'M', which .*1 of 3 rows"):
        SCHEMA.read(strange, "f")


def test_a_text_among_numbers_is_refused_by_name_and_row():
    """With how many there are."""
    with pytest.raises(InputError, match=r"f: row 3, column 'ax': 'abc' is not a number \(1 of 2 rows"):
        SCHEMA.read(table("ax sex t", [1.0, "abc"], ["F", "F"], [0, 0]), "f")


@pytest.mark.parametrize(("value", "problem"), [(np.inf, "not a finite number"), (1e39, "beyond float32's range")])
def test_numbers_that_float32_does_not_hold_are_refused(value, problem):
    """By name and row, after the offset is subtracted."""
    with pytest.raises(InputError, match=f"row 3, column 'ax': .*{problem}"):
        SCHEMA.read(table("ax sex t", [1.0, value], ["F", "F"], [0, 0]), "f")
    far = Schema((Column("ax", offset=1e39),))
    assert far.read(table("ax", [1e39]), "f")[0].tolist() == [[0]]


GAPS = table("ax sex t", [None, 2.0, 3.0, None], ["F", None, "M", "M"], [1e15] * 4)


def test_missing_cells_are_refused_by_default():
    """By the column's name, with how many rows it concerns, the first of them, and what helps."""
    with pytest.raises(InputError, match=r"f: column 'ax' has no value in 2 of 4 rows \(the first is row 2\).*mean"):
        SCHEMA.read(GAPS, "f")


def test_rows_with_missing_cells_are_left_out_by_the_rule_and_said():
    """What is kept is known, so that labels can follow; a table without one whole row is refused."""
    schema = replace(SCHEMA, missing="drop")
    read = schema.read(GAPS, "f")
    assert read.x.tolist() == [[3, 0, 1, 0]]
    assert read.kept.tolist() == [2]
    assert read.notes == ("3 of 4 rows left out, which lack a value (the first is row 2)",)
    with pytest.raises(InputError, match="every row lacks a value"):
        schema.read(table("ax sex t", [None], ["F"], [1.0]), "f")


def test_missing_cells_are_filled_by_the_rule_and_said():
    """With the column's mean or category; a column that has none to fill in is refused."""
    columns = (Column("ax", fill=7.0), Column("sex", ("F", "M"), fill="M"), Column("t", offset=1e15))
    schema = Schema(columns, missing="mean")
    x, _, notes = schema.read(GAPS, "f")
    assert x.tolist() == [[7, 1, 0, 0], [2, 0, 1, 0], [3, 0, 1, 0], [7, 0, 1, 0]]
    assert notes == ("3 missing values filled in with the mean of the training",)
    with pytest.raises(InputError, match="column 't' has no value"):
        schema.read(table("ax sex t", [1.0], ["F"], [None]), "f")


def test_a_filled_cell_gets_the_columns_offset():
    """The mean is in the file's units."""
    schema = Schema((Column("t", offset=1e6, fill=1e6 + 3),), missing="mean")
    assert schema.read(table("t", [1e6, None]), "f")[0].tolist() == [[0], [3]]


def test_missing_cells_of_other_columns_do_not_matter():
    """A label that is not known yet."""
    labelled = table("ax sex t label", [1.0], ["F"], [1e15], [None])
    assert SCHEMA.read(labelled, "f")[0].tolist() == [[1, 1, 0, 0]]


def test_categories_that_are_numbers_have_one_spelling():
    """3, 3.0 and 03 are one category, among texts too."""
    schema = Schema((Column("zip", ("3", "17")),))
    assert schema.read(table("zip", [3.0, 17.0]), "f")[0].tolist() == [[1, 0], [0, 1]]
    mixed = Table(("zip",), np.array([[3.0], [np.nan]]), {0: ["03", " b "]}, None, np.arange(2), ())
    assert cell_texts(mixed, 0) == ["3", "b"]
    assert [number_text(value) for value in (3.0, 0.5, -0.0, 1e300)] == ["3", "0.5", "0", "1e+300"]


def test_many_rows_are_read_in_blocks():
    """No block is lost, and a bad cell is named by its own row."""
    numbers = np.arange(20_000.0).reshape(10_000, 2)
    lines = np.arange(1, 10_001)
    schema = Schema((Column("b", offset=1.0), Column("a")))
    x = schema.read(Table(("a", "b"), numbers, {}, None, lines, ()), "f")[0]
    np.testing.assert_array_equal(x, numbers[:, ::-1] - [1, 0])
    numbers[9_000, 0] = np.inf
    with pytest.raises(InputError, match="row 9001, column 'a'"):
        schema.read(Table(("a", "b"), numbers, {}, None, lines, ()), "f")


def test_the_text_reads_back():
    """Everything a schema holds, in JSON; what is usual takes no room."""
    columns = (Column("ax"), Column("é 'x'", ("a", "b"), fill="a"), Column("t", offset=0.1, fill=2.0))
    for schema in (
        SCHEMA,
        Schema(columns, ("price", "size"), "mean", ("EUR", "")),
        Schema((Column("column 2"),), (), table_width=3),
    ):
        assert Schema.parse(schema.text()) == schema
    assert Schema((Column("a"),)).text() == '{"columns":["a"]}'


def test_names_that_count_take_one_entry():
    """784 pixels need no 8 kB; names that only look so are kept as they are."""
    names = [*(f"p{number}" for number in range(784)), "p0784", "q7", "12", "13", "x"]
    schema = Schema(tuple(map(Column, names)))
    assert json.loads(schema.text())["columns"] == [["p", 0, 784], "p0784", "q7", ["", 12, 2], "x"]
    assert Schema.parse(schema.text()) == schema


@pytest.mark.parametrize("text", ["v2", "[1]", "{}", '"columns"', "[" * 100_000])
def test_a_text_that_is_something_else_is_no_schema(text):
    """The metadata are free texts, and somebody may have called one of them so."""
    assert Schema.parse(text) is None


@pytest.mark.parametrize(
    "columns",
    [
        "[]", "7", "[7]", "[true]", "[null]", '["a","a"]', '[["a",0]]', '[["a",0,-1]]', '[["a",0,0]]', '[[1,0,1]]',
        '[["a",0,99999999999]]', '[["a","0",2]]', '[{"name":7}]', '[{}]', '[{"name":"a","offset":"x"}]',
        '[{"name":"a","offset":NaN}]', '[{"name":"a","fill":Infinity}]', '[{"name":"a","fill":"b"}]',
        '[{"name":"a","categories":["b","b"]}]', '[{"name":"a","categories":["b"],"fill":"c"}]',
        '[{"name":"a","categories":["b"],"offset":1.0}]', '[{"name":"a","offset":1' + "0" * 400 + "}]",
    ],
)  # fmt: skip
def test_a_damaged_schema_is_refused(columns):
    """With one documented error, in little memory, whatever stands there."""
    with pytest.raises(ModelError):
        Schema.parse(f'{{"columns":{columns}}}')


@pytest.mark.parametrize("rest", ['"missing":"x"', '"targets":[1]', '"units":["m"]', '"table_width":3'])
def test_a_schema_whose_parts_do_not_fit_is_refused(rest):
    """A rule that is none, units without targets, a table without names whose columns have some."""
    with pytest.raises(ModelError):
        Schema.parse(f'{{"columns":["a"],{rest}}}')


def test_a_few_letters_do_not_fill_the_memory():
    """A model of 4 inputs cannot have a million columns, so they are not made."""
    model = random_model([4, 3, 2], ["relu", "softmax"])
    with pytest.raises(ModelError, match="1,000,000 columns, expected 4 at most"):
        Schema.of(replace(model, metadata={"schema": '{"columns":[["a",0,1000000]]}'}))


def test_a_model_gives_its_schema():
    """None where it has none; one that does not fit the model is refused."""
    model = random_model([4, 3, 2], ["relu", "softmax"])
    assert Schema.of(model) is None
    assert Schema.of(replace(model, metadata={"schema": "version 2"})) is None
    assert Schema.of(replace(model, metadata={"schema": SCHEMA.text()})) == SCHEMA
    with pytest.raises(ModelError, match=r"describes 1 inputs, the model takes 4"):
        Schema.of(replace(model, metadata={"schema": Schema((Column("a"),)).text()}))


def test_arrays_become_differences_in_float64():
    """What arrays of raw values need before they are float32; without offsets they stay the very array."""
    raw = np.array([[1.0, 0, 1, 1e15 + 0.5]])
    assert SCHEMA.subtract(raw).tolist() == [[1, 0, 1, 0.5]]
    assert SCHEMA.offsets.tolist() == [0, 0, 0, 1e15]
    assert Schema((Column("a"),)).subtract(raw) is raw
    assert SCHEMA.feature_names == ("ax", "sex=F", "sex=M", "t")


def test_a_schema_is_described_for_who_has_the_model_alone():
    """Columns in order with categories and offsets, the label with its unit, the rule for missing cells."""
    assert SCHEMA.described() == (
        "columns: ax, sex (one of 'F', 'M'), t (minus 1000000000000000.0)",
        "predicts: label",
        "a row that lacks a value is refused",
        "arrays are differences from these offsets; those of a table are taken in float64 as it is read",
    )
    many = Schema(tuple(Column(f"p{index}") for index in range(25)), ("power", "temp [C]"), "drop", ("W", "C"))
    lines = many.described()
    assert lines[0].endswith("p19, and 5 more")
    assert lines[1] == "predicts: power [W], temp [C]"
    assert lines[2] == "a row that lacks a value is left out"


def test_the_rows_are_within_the_limit_of_bytes():
    """A text of a few letters may become a thousand inputs."""
    schema = Schema((Column("code", tuple(f"c{number}" for number in range(1000))),))
    codes = table("code", ["c7"] * 10)
    assert schema.read(codes, "f", max_bytes=40_000)[0].shape == (10, 1000)
    with pytest.raises(InputError, match="f: 10 rows x 1,000 inputs, over the limit of 39,999 bytes as float32"):
        schema.read(codes, "f", max_bytes=39_999)
