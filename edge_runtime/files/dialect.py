"""How a table is spelled: what separates its cells, and how its numbers are written. Both are seen from the content.

Separators: of tab, semicolon, pipe, comma and runs of blanks the one that cuts the lines into equally many cells, most
of them numbers; the first of these if several do.

Numbers: a cell such as `1,5` or `0,125` can only hold a decimal comma, `1,234,567` and `1,234.5` only commas between
thousands. Cells of which each can be read both ways (`1,234`) are decimal where semicolons separate, since spreadsheets
write semicolons where the comma is the decimal mark; thousands where commas separate and the cell stands in quotes; and
refused elsewhere, by naming the two readings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from edge_runtime.errors import InputError
from edge_runtime.files.bounded import printable
from edge_runtime.files.cells import split_lines

DELIMITERS = ("\t", ";", "|", ",", " ")
SPREADSHEET_ERRORS = ("#N/A", "#DIV/0!", "#VALUE!", "#REF!", "#NAME?", "#NUM!", "#NULL!")  # a cell whose formula failed
MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-", *map(str.lower, SPREADSHEET_ERRORS)})
_MOST_CELLS = 10_000  # that are looked at to find a separator
_LOOKS_LIKE_NUMBER = re.compile(r"[-+]?(\d[\d.,' ]*|[.,]\d+)([eE][-+]?\d+)?")
_BLANKS = str.maketrans({"\xa0": " ", "\u202f": " ", "\u2009": " ", "\u2019": "'"})  # as people write thousands


@dataclass(frozen=True)
class Dialect:
    """delimiter: one of DELIMITERS, " " for runs of blanks. decimal: "." or ",". thousands: a mark, or "" for none."""

    delimiter: str = ","
    decimal: str = "."
    thousands: str = ""

    def number(self, cell: str) -> float | None:
        """The value of a cell, or None if it is no number. NaN if it says so."""
        cell = cell.strip()
        if self.thousands:
            cell = cell.translate(_BLANKS)
            if self.thousands in cell:
                if not _grouped(self.thousands, self.decimal).fullmatch(cell):
                    return None
                cell = cell.replace(self.thousands, "")
        if self.decimal == ",":
            if "." in cell:
                return None
            cell = cell.replace(",", ".")
        if "_" in cell:  # Python reads 1_000 as a thousand; nobody else does
            return None
        try:
            return float(cell)
        except ValueError:
            return None

    def is_other_spelling(self, cell: str) -> bool:
        """Whether a cell that is no number here would be one with other marks."""
        cell = cell.strip().translate(_BLANKS)
        return self.number(cell) is None and any(other.number(cell) is not None for other in _SPELLINGS)

    def described(self) -> str:
        """What is unusual about it, in a few words; "" if nothing is."""
        marks = {",": "commas", ".": "points", " ": "blanks", "'": "apostrophes"}
        parts = ["decimal comma"] if self.decimal == "," else []
        parts += [f"{marks[self.thousands]} between thousands"] if self.thousands else []
        names = {"\t": "tab", " ": "blanks"}
        return ", ".join([f"separator {names.get(self.delimiter) or repr(self.delimiter)}", *parts]) if parts else ""


_SPELLINGS = [Dialect(",", decimal, thousands) for decimal in ".," for thousands in ".,' " if thousands != decimal]


def is_missing(cell: str) -> bool:
    """Whether a cell says that its value is not known."""
    return cell.strip().lower() in MISSING


def sniff_delimiter(lines: Sequence[str]) -> str:
    """The mark that cuts these lines into equally many cells, most of them numbers; a comma if none cuts any."""
    scores = {mark: _score(split_lines(lines, mark)) for mark in DELIMITERS}
    best = max(DELIMITERS, key=lambda mark: scores[mark])
    return best if scores[best] > 0 else ","


def _score(rows: Sequence[Sequence[str]]) -> float:
    if not rows:
        return 0.0
    counted = Counter(map(len, rows))
    width = max(counted, key=lambda width: (counted[width], width))
    count = counted[width]
    if width < 2:
        return 0.0
    cells = [cell.strip() for cell in islice((cell for row in rows if len(row) == width for cell in row), _MOST_CELLS)]
    numbers = sum(_LOOKS_LIKE_NUMBER.fullmatch(cell) is not None or is_missing(cell) for cell in cells)
    return count / len(rows) * (1 + numbers / len(cells))


def sniff_numbers(sample: str, whole: Callable[[], str] | None, delimiter: str, what: str) -> Dialect:
    """The dialect of the numbers in `sample`; in `whole`, if the sample could be read both ways.

    Raises InputError where two decimal marks are used, and where nothing tells a decimal comma from thousands.
    """
    seen = _Evidence(sample, delimiter)
    decimal, thousands = ".", ""
    if seen.comma_decimal and (seen.point_decimal or seen.comma_thousands):
        other = seen.point_decimal or seen.comma_thousands
        raise InputError(
            f"{what}: {seen.comma_decimal!r} has a decimal comma, {other!r} has not; write one decimal mark"
        )
    if seen.comma_decimal:
        decimal, thousands = ",", "." if seen.point_thousands or seen.point_either else ""
    elif seen.comma_thousands or (seen.comma_either and seen.point_decimal):
        thousands = ","
    elif seen.comma_either:
        if whole is not None:
            return sniff_numbers(whole(), None, delimiter, what)
        if delimiter not in ",;":
            found = seen.comma_either
            raise InputError(
                f"{what}: {found!r} is {found.replace(',', '.')} with a decimal comma, or {found.replace(',', '')} "
                "with commas between thousands; write a decimal point, or no marks between thousands"
            )
        decimal, thousands = (",", "." if seen.point_thousands else "") if delimiter == ";" else (".", ",")
    elif seen.point_thousands and not seen.point_decimal:
        decimal, thousands = ",", "."
    return Dialect(delimiter, decimal, thousands or seen.other_thousands(decimal))


class _Evidence:
    """The first cell of each kind of spelling, or ""."""

    def __init__(self, text: str, delimiter: str) -> None:
        edge = r"\n\"" + (r" \t" if delimiter == " " else re.escape(delimiter))
        blanks = "" if delimiter == " " else " *"
        self._edges = rf"(?<![^{edge}]){blanks}", rf"{blanks}(?![^{edge}])"
        # a comma that separates is none of a number: a number with one stands in quotes
        self._comma_edges = ('(?<=") *', ' *(?=")') if delimiter == "," else self._edges
        self._text, self._delimiter = text, delimiter
        has_comma = "," in text and (delimiter != "," or '"' in text)
        self.comma_decimal = self._find(_decimal(","), self._comma_edges) if has_comma else ""
        self.comma_thousands = self._find(_thousands(","), self._comma_edges) if has_comma else ""
        self.comma_either = self._find(r"[1-9]\d{0,2},\d{3}", self._comma_edges) if has_comma else ""
        self.point_decimal = self._find(_decimal("."))
        several = self._find(r"[1-9]\d{0,2}(?:\.\d{3}){2,}")
        self.point_thousands = several or self._find(_thousands("."), self._comma_edges)
        self.point_either = self._find(r"[1-9]\d{0,2}\.\d{3}") if has_comma else ""

    def _find(self, pattern: str, edges: tuple[str, str] | None = None) -> str:
        front, back = edges or self._edges
        match = re.search(f"{front}([-+]?(?:{pattern})){back}", self._text)
        return printable(match[1], 40) if match else ""

    def other_thousands(self, decimal: str) -> str:
        """The blank or apostrophe between thousands, or ""."""
        marks = "'\u2019" if self._delimiter == " " else " '\xa0\u202f\u2009\u2019"
        found = self._find(rf"[1-9]\d{{0,2}}(?:[{marks}]\d{{3}})+(?:{re.escape(decimal)}\d*)?")
        return "" if not found else "'" if "'" in found or "\u2019" in found else " "


def _decimal(mark: str) -> str:
    """What can only be a number with this decimal mark."""
    other = re.escape("." if mark == "," else ",")
    m = re.escape(mark)
    exponent = r"(?:[eE][-+]?\d+)"
    return (
        rf"(?:0\d*|\d{{4,}})?{m}\d+{exponent}?|\d+{m}(?:\d{{1,2}}|\d{{4,}})?{exponent}?|\d+{m}\d+{exponent}"
        rf"|[1-9]\d{{0,2}}(?:[ '{other}\xa0\u202f]\d{{3}})+{m}\d*"
    )


def _thousands(mark: str) -> str:
    """What can only be a number with this mark between thousands."""
    other = re.escape("." if mark == "," else ",")
    m = re.escape(mark)
    return rf"[1-9]\d{{0,2}}(?:{m}\d{{3}}){{2,}}(?:{other}\d*)?|[1-9]\d{{0,2}}{m}\d{{3}}{other}\d*"


@lru_cache
def _grouped(mark: str, decimal: str) -> re.Pattern[str]:
    return re.compile(rf"[-+]?\d{{1,3}}(?:{re.escape(mark)}\d{{3}})+(?:{re.escape(decimal)}\d*)?(?:[eE][-+]?\d+)?")
