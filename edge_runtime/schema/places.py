"""Where the columns of a schema stand in a table: by their names, or by place if there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.errors import InputError
from edge_runtime.numerics import respelled
from edge_runtime.schema.names import listed, numbered, quoted

if TYPE_CHECKING:
    from edge_runtime.files import Table
    from edge_runtime.schema.schema import Schema

LABEL_NOTE = "left out what the model predicts"


def places_in(schema: Schema, table: Table, what: str) -> tuple[list[int], list[str]]:
    """Where each column of the schema stands in the table."""
    names = [name.strip() for name in table.names]
    wanted = [column.name for column in schema.columns]
    if not set(wanted) & set(names) and (not names or schema.table_width or _only_count(names)):
        notes = ["the columns were taken by their place, not by the header"] if names else []
        return _by_position(schema, table.numbers.shape[1], what), notes
    taken_for = respelled(names, wanted)
    names = [taken_for.get(name, name) for name in names]
    _refuse_lacking(schema, names, what)
    for name in wanted:
        if names.count(name) > 1:
            raise InputError(f"{what}: column {quoted(name)} is there {names.count(name)} times; rename one")
    places = [names.index(name) for name in wanted]
    notes = [f"took column {quoted(name)} for {quoted(new)}" for name, new in taken_for.items()]
    return places, notes + _order_notes(schema, names, places)


def _order_notes(schema: Schema, names: list[str], places: list[int]) -> list[str]:
    notes = ["the columns were put in the model's order"] if places != sorted(places) else []
    extra = [names[place] or numbered(place) for place in range(len(names)) if place not in set(places)]
    known = [name for name in extra if name in schema.targets]
    others = [name for name in extra if name not in schema.targets]
    notes += [f"{LABEL_NOTE}: {listed(known)}"] if known else []
    return notes + ([f"left out columns that the model does not know: {listed(others)}"] if others else [])


def _refuse_lacking(schema: Schema, names: list[str], what: str) -> None:
    lacking = [column.name for column in schema.columns if column.name not in names]
    if not lacking:
        return
    alike = {name.casefold(): name for name in names if name}
    similar = [alike[name.casefold()] for name in lacking if name.casefold() in alike]
    advice = f"rename {listed(similar)}" if similar else "give each column that the model takes, by its name"
    raise InputError(
        f"{what}: no column {listed(lacking)}; the file has {listed(name for name in names if name) or 'no names'}, "
        f"the model takes {listed(column.name for column in schema.columns)}; {advice}"
    )


def _by_position(schema: Schema, width: int, what: str) -> list[int]:
    count = len(schema.columns)
    if width == count:
        return list(range(count))
    if width == schema.table_width:
        return [int(column.name.removeprefix("column ")) - 1 for column in schema.columns]
    advice = "is one of them the label? drop it, or give" if width == count + len(schema.targets) else "give"
    raise InputError(
        f"{what}: {width:,} columns without names, the model takes {count:,} "
        f"({listed(column.name for column in schema.columns)}); {advice} a header with their names"
    )


def _only_count(names: list[str]) -> bool:
    """Whether a header only counts the columns, as pandas does where there are no names."""
    return any(names == [str(first + place) for place in range(len(names))] for first in (0, 1))
