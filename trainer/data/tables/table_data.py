"""Data sets in tables of text: one file, or a folder with a file for each class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_runtime.errors import InputError
from edge_runtime.files import Table, describe, is_number, is_table_name, read_file, read_table
from edge_runtime.numerics import respelled
from edge_runtime.schema import LABEL_NOTE, Schema, cell_texts, listed, numbered, quoted
from trainer.data.dataset import Dataset
from trainer.data.idx import is_idx_folder
from trainer.data.labels import Target, Where, decide_target, encode_labels, label_doubts
from trainer.data.reading import Reading
from trainer.data.tables.choices import Choices, ColumnName, missing_in, name_of, places_of
from trainer.data.tables.columns import TAKEN, Chosen, choose, label_cells
from trainer.scores import NORMAL_NAMES, NORMAL_OF_TWO, named_normal

_CLASS_COLUMN = "class"  # of a folder with a file for each class
_OR_LEAVE_OUT = "or leave the label out: rows without labels teach what the float model answers"


def load_table(path: Path, choices: Choices, max_bytes: int, for_training: bool) -> Dataset:
    """The data set in a file, or in a folder of files. Raises InputError, naming column and row; OSError."""
    what = describe(path)
    table = _read(path, what, max_bytes)
    if path.is_dir() and choices.target in ("auto", "class"):
        if choices.label:
            raise InputError(f"{what}: --label is given, but the names of the files in a folder are the classes")
        choices = replace(choices, label=(table.numbers.shape[1],))
    chosen = choose(table, choices, what, max_bytes=max_bytes)
    features = chosen.schema.feature_names if any(table.names) else ()
    if chosen.labels is None:
        x, reading = _normal_rows(table, chosen, what)
        return Dataset(x, x, (), _short_name(path), what, features, None, chosen.schema, reading)
    lines = table.line_numbers[chosen.kept]
    named = f"{what}: {_label_text(chosen.schema.targets)}"
    try:
        y, names = encode_labels(
            chosen.labels, choices.target, chosen.classes, _where(what, lines), named, for_training=for_training
        )
    except InputError as error:
        taken = [note for note in chosen.reading.notes if TAKEN in note]  # what is wrong may be that they are gone
        raise InputError("; ".join([str(error), *taken])) from error
    reason = decide_target(chosen.labels, choices.target)[1]
    if chosen.classes is not None:
        reason = f"one column of 0 and 1 for each of {len(chosen.classes)} classes"
    doubts = tuple(label_doubts(y, names)) if for_training else ()
    reading = replace(chosen.reading, task_reason=reason, warnings=(*chosen.reading.warnings, *doubts))
    if path.is_dir():
        reading = replace(reading, label_reason="the names of the files")
    return Dataset(chosen.x, y, names, _short_name(path), what, features, None, chosen.schema, reading)


def _normal_rows(table: Table, chosen: Chosen, what: str) -> tuple[NDArray[np.float32], Reading]:
    """What an autoencoder learns from: all rows, but those that a label calls other than normal."""
    places = _target_places(table, chosen.schema)
    if not places or len(places) > 1:
        return chosen.x, chosen.reading
    cells = cell_texts(table, places[0])
    texts = [cells[row] for row in chosen.kept.tolist()]
    names = sorted(set(texts) - {""})
    normal = named_normal(names)
    if normal is None:
        return chosen.x, chosen.reading
    is_normal = np.array([text in (names[normal], "") for text in texts], np.bool_)
    counted = Counter(texts)
    doubts = _normal_doubts(names, [counted[name] for name in names], normal, what)
    warnings = (*chosen.reading.warnings, *doubts)
    strange = int((~is_normal).sum())
    return chosen.x[is_normal], replace(chosen.reading, normal=names[normal], strange=strange, warnings=warnings)


def _normal_doubts(names: Sequence[str], counts: Sequence[int], normal: int, what: str) -> list[str]:
    """What to say of the class that is learned as normal: that others are more. Raises InputError for a mere guess."""
    named = [name for name in names if name.casefold() in NORMAL_NAMES]
    advice = "keep the rows of one class alone, or call the classes normal and strange"
    if len(named) > 1:
        raise InputError(f"{what}: {listed(named)} are all names of what is normal, expected one such class: {advice}")
    most = max(range(len(names)), key=counts.__getitem__)
    if counts[most] <= counts[normal]:
        return []
    found = f"{counts[normal]:,} rows are '{names[normal]}' and {counts[most]:,} are '{names[most]}'"
    if not named and names[normal].casefold() in NORMAL_OF_TWO:
        raise InputError(f"{what}: {found}: which is normal? the larger class was expected to be; {advice}")
    return [f"{found}: '{names[normal]}' is learned as normal, though it is the smaller class"]


def load_alike(
    path: Path,
    schema: Schema,
    target: Target,
    class_names: Sequence[str],
    label: Sequence[ColumnName] = (),
    *,
    max_bytes: int,
    needs_labels: bool = False,
    for_tuning: bool = False,
) -> Dataset:
    """Another table, read by the schema of the one that a model was trained on. label: its column, if it has moved.

    y: class indices into class_names, or targets; (n, 0) without labels that are known, unless `needs_labels`. For an
    autoencoder the indices of the labels' own names, if there are labels. for_tuning: labels may be missing, and those
    that are there are refused if they are not known. Raises InputError, OSError.
    """
    what = describe(path)
    table = _read(path, what, max_bytes)
    read = schema.read(table, what, max_bytes=max_bytes)
    if label:
        places: list[int] | None = places_of(table, label, "label", what)
        schema = replace(schema, targets=tuple(name_of(table, place) for place in places or ()), units=())
    else:
        places = _target_places(table, schema)
    notes = (*table.notes, *(note for note in read.notes if not (places and note.startswith(LABEL_NOTE))))
    dropped = len(table.numbers) - len(read.kept)
    reading = Reading(label=schema.targets, rows=len(table.numbers), dropped=dropped, notes=notes)
    nothing = np.empty((len(read.x), 0), np.float32)
    unlabelled = Dataset(read.x, nothing, name=_short_name(path), source=what, schema=schema, reading=reading)
    if not places:
        if needs_labels:
            _refuse_no_label(table, schema, what)
        if for_tuning and target != "autoencoder":
            _refuse_label_elsewhere(table, schema, class_names, what)
        return unlabelled
    try:
        return _with_labels(unlabelled, table, read.kept, places, target, class_names)
    except InputError as error:
        if needs_labels:
            raise
        if for_tuning and target != "autoencoder":
            raise InputError(f"{error}, {_OR_LEAVE_OUT}") from error
        return replace(unlabelled, reading=replace(reading, notes=(*notes, f"the labels were not read: {error}")))


def _with_labels(
    rows: Dataset,
    table: Table,
    kept: NDArray[np.int64],
    places: Sequence[int],
    target: Target,
    class_names: Sequence[str],
) -> Dataset:
    """These rows with their labels; those without one are refused, or left out by the schema's rule."""
    schema, what = rows.schema or Schema(()), rows.source
    lacking = np.any([missing_in(table, place)[kept] for place in places], axis=0)
    if lacking.any() and schema.missing == "refuse":
        raise InputError(
            f"{what}: row {table.line_numbers[kept[lacking.argmax()]]}: {_label_text(schema.targets)}, has no value "
            f"there ({int(lacking.sum()):,} rows in all); leave such rows out"
        )
    kept = kept[~lacking]
    lines = table.line_numbers[kept]
    wanted: Target = "class" if target == "autoencoder" or class_names else target
    labels, classes = label_cells(table, places, wanted)
    if class_names and target != "autoencoder" and len(places) == 1:
        labels = cell_texts(table, places[0])  # numbers too: whichever is no class is named, with how many there are
    labels = [labels[row] for row in kept.tolist()] if isinstance(labels, list) else labels[kept]
    if target == "regression" and isinstance(labels, list):
        _refuse_texts(labels, schema, _where(what, lines))
    named = f"{what}: {_label_text(schema.targets)}"
    y, names = encode_labels(labels, wanted, classes, _where(what, lines), named, for_training=False)
    if class_names and target != "autoencoder" and y.dtype == np.int64:
        y = as_known_classes(y, names, class_names, _where(what, lines), schema.targets)
        names = tuple(class_names)
    reading = replace(rows.reading, dropped=rows.reading.rows - len(kept))
    return replace(rows, x=rows.x[~lacking], y=y, class_names=names, reading=reading)


def _refuse_texts(labels: Sequence[str], schema: Schema, where: Where) -> None:
    """Raise InputError for labels of a model that gives numbers, if some are none: how many, and where they stand."""
    wrong = [row for row, text in enumerate(labels) if not is_number(text)]
    if wrong:
        raise InputError(
            f"{where(wrong[0])}: label {quoted(labels[wrong[0]])} is no number, as the model gives them; "
            f"{len(wrong):,} of {len(labels):,} rows have such labels in {listed(schema.targets)}: mend them"
        )


def as_known_classes(
    y: NDArray[np.int64], names: Sequence[str], known: Sequence[str], where: Where, label: Sequence[str]
) -> NDArray[np.int64]:
    """Class indices into `names` as indices into the classes that a model knows; InputError for another class.

    label: where they stand, for the message.
    """
    index = {name: number for number, name in enumerate(known)}
    codes = np.array([index.get(name, -1) for name in names], np.int64)[y]
    unknown = codes < 0
    if unknown.any():
        row = int(unknown.argmax())
        raise InputError(
            f"{where(row)}: label {quoted(names[y[row]])} is none of the classes that the model knows "
            f"({listed(known)}); {int(unknown.sum()):,} of {len(y):,} rows have such labels"
            f"{f' in {listed(label)}' if label else ''}: rename them"
        )
    return codes


def _target_places(table: Table, schema: Schema) -> list[int] | None:
    """Where the label stands in another table; None where it does not."""
    names = [name.strip() for name in table.names]
    if not any(names) and schema.table_width == table.numbers.shape[1]:
        names = [numbered(place) for place in range(table.numbers.shape[1])]
    if not schema.targets or any(names.count(name) != 1 for name in schema.targets):
        return None
    return [names.index(name) for name in schema.targets]


def _refuse_no_label(table: Table, schema: Schema, what: str) -> None:
    if not schema.targets:
        raise InputError(f"{what}: the model does not say what its label is called; train it again from a table")
    found = listed(name for name in table.names if name.strip()) or "no names"
    raise InputError(
        f"{what}: no column {listed(schema.targets)}, which is the label; the file has {found}; "
        "name its column so, or say which it is with --label"
    )


def _refuse_label_elsewhere(table: Table, schema: Schema, class_names: Sequence[str], what: str) -> None:
    """Where the label is there under another name, twice, or in a part of its columns; without it nothing is wrong."""
    names = [name.strip() for name in table.names]
    wrong = {name: names.count(name) for name in schema.targets if names.count(name) != 1}
    if any(name in names for name in schema.targets):
        name, count = next(iter(wrong.items()))
        found = f"{count} columns {quoted(name)}" if count else f"no column {quoted(name)}"
        raise InputError(
            f"{what}: {found}, expected each of {listed(schema.targets)} once, which the model was trained to give; "
            f"mend the header, {_OR_LEAVE_OUT}"
        )
    for place in _unknown_places(schema, names):
        known = sum(text in class_names for text in cell_texts(table, place))
        if 2 * known > len(table.numbers):
            wanted = f"expected them in {listed(schema.targets)}; rename it"
            if not schema.targets:
                wanted = "and the model does not say what its label is called; give an .npz with x and y"
            raise InputError(
                f"{what}: column {quoted(names[place])} holds the model's classes in {known:,} of "
                f"{len(table.numbers):,} rows, {wanted}, {_OR_LEAVE_OUT}"
            )


def _unknown_places(schema: Schema, names: Sequence[str]) -> list[int]:
    """Columns with a name that the schema does not know, however it is spelled."""
    taken_for = respelled(names, schema.names)
    return [place for place, name in enumerate(names) if name and taken_for.get(name, name) not in schema.names]


def _short_name(path: Path) -> str:
    """A file's name without what says how it is packed."""
    return path.name if path.is_dir() else Path(path.name.removesuffix(".gz")).stem


def _label_text(targets: Sequence[str]) -> str:
    return f"the label, {listed(targets)}" if targets else "the label"


def _where(what: str, lines: NDArray[np.int64]) -> Where:
    return lambda row: f"{what}: row {lines[row]}"


def is_class_folder(path: Path) -> bool:
    """Whether this is a folder with a table for each class: two or more, and no IDX files."""
    return path.is_dir() and not is_idx_folder(path) and len(table_files(path)) > 1


def table_files(folder: Path) -> list[Path]:
    """The tables in a folder, each of one class; hidden files apart."""
    found = (path for path in folder.iterdir() if is_table_name(path) and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def _read(path: Path, what: str, max_bytes: int) -> Table:
    if not path.is_dir():
        return read_table(read_file(path, max_bytes=max_bytes), what, max_bytes=max_bytes)
    files = table_files(path)
    try:
        tables = [
            read_table(read_file(file, max_bytes=max_bytes), describe(file), max_bytes=max_bytes) for file in files
        ]
        return _joined(tables, [file.name.split(".")[0] for file in files], [describe(file) for file in files])
    except InputError as error:
        raise InputError(
            f"{error}; in this folder each file that ends in .csv, .txt and the like is the table of a class: move "
            "others away"
        ) from error


def _joined(tables: Sequence[Table], classes: Sequence[str], files: Sequence[str]) -> Table:
    """One table of all rows, with a last column of the files' names. Columns are found by name, as in the first."""
    first = tables[0]
    width = first.numbers.shape[1]
    if len(set(classes)) < len(classes):
        raise InputError(f"{files[0]}: two files of one name in its folder, expected one for each class")
    orders = [_order(first, files[0], table, file) for table, file in zip(tables, files, strict=True)]
    count = sum(len(table.numbers) for table in tables)
    numbers = np.full((count, width + 1), np.nan)
    numbers[:, :width] = np.concatenate([table.numbers[:, order] for table, order in zip(tables, orders, strict=True)])
    missing = np.zeros((count, width + 1), np.bool_)
    texts: dict[int, list[str]] = {width: []}
    is_text = {
        place
        for table, order in zip(tables, orders, strict=True)
        for place in range(width)
        if order[place] in table.texts
    }
    start = 0
    for table, order, name in zip(tables, orders, classes, strict=True):
        end = start + len(table.numbers)
        if table.missing is not None:
            missing[start:end, :width] = table.missing[:, order]
        texts[width] += [name] * len(table.numbers)
        for place in is_text:
            texts.setdefault(place, []).extend(cell_texts(table, order[place]))
        start = end
    names = (*first.names, _CLASS_COLUMN) if any(first.names) else ()
    lines = np.concatenate([table.line_numbers for table in tables])
    notes = (f"{len(tables)} files, a class each; rows are counted within their file", *first.notes)
    return Table(names, numbers, texts, missing if missing.any() else None, lines, notes)


def _order(first: Table, first_file: str, table: Table, file: str) -> list[int]:
    """For each column of the first table, its place in another one."""
    names, own = [[name.strip() for name in part.names] for part in (first, table)]
    if sorted(names) == sorted(own) and len(set(names)) == len(names) and names:
        return [own.index(name) for name in names]
    if names == own and first.numbers.shape[1] == table.numbers.shape[1]:
        return list(range(first.numbers.shape[1]))
    raise InputError(
        f"{file}: columns {listed(own) or table.numbers.shape[1]}, expected {listed(names) or first.numbers.shape[1]} "
        f"as in the first file of the folder, {first_file}"
    )
