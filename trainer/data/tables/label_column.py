"""Which column of a table is the label, and how that was decided."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from edge_runtime.errors import InputError
from edge_runtime.files import Table
from edge_runtime.schema import listed
from trainer.data.tables.choices import Choices, as_option, column, missing_in, name_of, places_of

# Names that a label has, whatever their case, those that say so most clearly first. `y` may be a coordinate too.
LABEL_NAMES = ("label", "labels", "class", "target", "species", "outcome", "diagnosis")
_SHOWN = 12  # different texts at most that a class column has, for advice
_PIXELS = 64  # columns at least that an image has: fewer may be readings of any kind
_MOST_CLASSES = 100


class LabelColumn(NamedTuple):
    """places: of the label, from 0; () for none. reason: how they were decided. doubt: what else it may be, or ""."""

    places: tuple[int, ...]
    reason: str
    doubt: str = ""


def find_label(table: Table, choices: Choices, candidates: list[int], what: str) -> LabelColumn:
    """The label: as chosen, by its name, the first column of a table of images, or the last column.

    candidates: columns that are not empty, not dropped and no index. For an autoencoder: as chosen, by its name, or
    none. Raises InputError where no column is left for it.
    """
    if choices.label:
        places = places_of(table, choices.label, "label", what)
        return LabelColumn(tuple(places), "as --label says")
    named = _by_name(table, candidates)
    if named is not None:
        return named
    if choices.target == "autoencoder":
        return LabelColumn((), "no label is needed")
    if not candidates or table.numbers.shape[1] < 2:
        count = table.numbers.shape[1]
        raise InputError(
            f"{what}: {count} {'column' if count == 1 else 'columns'}, of which {len(candidates)} can be learned from; "
            "expected features and, in the last column, a label"
        )
    if _is_first_of_images(table, candidates):
        return LabelColumn((candidates[0],), "the first column, before pixels of one range (--label names another)")
    return _last(table, candidates)


def _by_name(table: Table, candidates: list[int]) -> LabelColumn | None:
    names = {place: name_of(table, place).casefold() for place in candidates} if table.names else {}
    found = [place for wanted in LABEL_NAMES for place in candidates if names.get(place) == wanted]
    ends = [place for place in candidates if names.get(place) == "y" and place in (candidates[0], candidates[-1])]
    if not found and "z" not in names.values():
        found = ends
    if not found:
        return None
    best = candidates[-1] if candidates[-1] in found else found[0]
    others = [place for place in found if place != best]
    doubt = _class_doubt(table, candidates, best) if best in ends else ""
    if others:
        doubt = (
            f"{listed(name_of(table, place) for place in others)} may be a label too, and is learned from: leave it "
            f"out with --drop {as_option(table, others[0])}, or say which is one with --label"
        )
    return LabelColumn((best,), "by its name", doubt)


def _last(table: Table, candidates: list[int]) -> LabelColumn:
    """The last column, with a doubt if another looks much more like classes."""
    last = candidates[-1]
    label = LabelColumn((last,), "the last column (--label names another)")
    if last not in table.texts and (together := _one_hot_with(table, candidates)):
        options = " ".join(f"--label {as_option(table, place)}" for place in together)
        found = f"{listed(name_of(table, place) for place in together)} are 1 in one of them in each row and else 0"
        return label._replace(doubt=f"{found}: if they are the classes, {options}")
    return label._replace(doubt=_class_doubt(table, candidates, last))


def _class_doubt(table: Table, candidates: list[int], chosen: int) -> str:
    """What to say where a label of many numbers was guessed, and one other column looks like classes."""
    if chosen in table.texts or _few_whole(table, chosen):
        return ""
    others = [place for place in candidates if place != chosen]
    likely = [place for place in others if place in table.texts and _is_class_text(table, place)]
    likely = likely or [
        place for place in others if place in (candidates[0], candidates[-1]) and _few_whole(table, place)
    ]
    if len(likely) != 1:
        return ""
    found = f"{'the last column, ' if chosen == candidates[-1] else ''}{column(table, chosen)}"
    advice = f"{column(table, likely[0])} looks like classes: if it is the label, --label {as_option(table, likely[0])}"
    return f"the label is taken to be {found}, whose values are many; {advice}"


def _one_hot_with(table: Table, candidates: list[int]) -> list[int]:
    """The last columns of which one in each row is 1 and the others 0, if there are at least two such."""
    values = np.zeros(len(table.numbers))
    for count, place in enumerate(reversed(candidates), 1):
        cells = table.numbers[:, place]
        if place in table.texts or not ((cells == 0) | (cells == 1)).all():
            return []
        values = values + cells
        if count > 1 and (values == 1).all():
            return candidates[-count:]
    return []


def _is_class_text(table: Table, place: int) -> bool:
    return len(set(table.texts[place])) <= min(_SHOWN, len(table.numbers) // 2)


def _few_whole(table: Table, place: int) -> bool:
    """Whether a column holds whole numbers from 0 or 1 on, without gaps, few of them and each of them often."""
    if place in table.texts:
        return False
    values = table.numbers[~missing_in(table, place), place]
    if not len(values) or not np.isfinite(values).all() or (values != np.floor(values)).any():
        return False
    if values.max() > _MOST_CLASSES or values.min() < 0:
        return False
    distinct = np.unique(values)
    often = len(distinct) >= 2 and len(distinct) ** 2 <= 4 * len(values)
    return bool(often and distinct[0] in (0, 1) and len(distinct) == distinct[-1] - distinct[0] + 1)


def _is_first_of_images(table: Table, candidates: list[int]) -> bool:
    """Whether the columns after the first are pixels: as many as an image has, of one range, 0 to 255 at most.

    The last column of a table of images whose label is last may pass for a pixel: then the first column is the label
    only if it holds each of its values more evenly.
    """
    first, last, pixels = candidates[0], candidates[-1], len(candidates) - 1
    if pixels < _PIXELS or not _is_square(pixels) or any(place in table.texts for place in candidates):
        return False
    if not _few_whole(table, first):
        return False
    low, high = (found[1:] for found in _ranges(table, candidates))
    top = float(high.max())
    is_one_range = np.median(low) <= 0.1 * top and np.percentile(high, 75) >= 0.5 * top
    if not (low.min() >= 0 and 0 < top <= 255 and is_one_range and (high[-1] >= 0.5 * top or low[-1] == high[-1])):
        return False
    return not _few_whole(table, last) or _largest_share(table, first) < _largest_share(table, last)


def _is_square(count: int) -> bool:
    return any(round((count / channels) ** 0.5) ** 2 * channels == count for channels in (1, 3))


def _ranges(table: Table, candidates: list[int]) -> tuple[Any, Any]:
    """The smallest and the largest value of each column, missing cells apart."""
    return np.fmin.reduce(table.numbers)[candidates], np.fmax.reduce(table.numbers)[candidates]


def _largest_share(table: Table, place: int) -> float:
    """Of the value that is the most frequent."""
    return float(np.unique(table.numbers[:, place], return_counts=True)[1].max() / len(table.numbers))
