"""Decimal numerals in bytes to float64, thousands at once, each rounded as Python's `float` rounds it.

Eight digits are read in one go: the eight bytes before a numeral's end are one 64-bit word, whose digits are joined to
pairs, fours and an eight by three multiplications (a known trick: "SIMD within a register"). The digits of a numeral
make a whole number m below 10^19; its value is m * 10^p. Below 2^53 one division rounds once. Above it, m and 10^p are
each the sum of two float64, which hold 106 bits; where these do not tell to which side to round, `float` does.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PAD = 8  # bytes before the text: there is a word before the end of its first numeral, too
_MOST_BYTES = 24  # of a numeral without sign and exponent, read in three words
_MOST_LEFT = 999  # in the third of them, so that m stays below 10^19 and in 64 bits
_NO_POINT = 64
_EXACT = 1 << 53
_LARGEST_POWER = 40
_MINUS, _PLUS, _LOWER_E = b"-+e"
_SPLIT = 134217729.0  # 2^27 + 1: cuts a float64 into two halves whose products are exact (Dekker)


def _u64(value: int) -> np.uint64:
    return np.uint64(value)


_ZEROS = _u64(0x3030303030303030)
_OVER_NINE, _HIGH_BITS = _u64(0x7676767676767676), _u64(0x8080808080808080)
_FOURS, _TO_LOW, _TO_HIGH = _u64(0x000000FF000000FF), _u64(0x000F424000000064), _u64(0x0000271000000001)
_TENS = np.array([10**power for power in range(20)], np.uint64)


def _halves(value: Any) -> tuple[Any, Any]:
    spread = _SPLIT * value
    high = spread - (spread - value)
    return high, value - high


_POWERS = [Fraction(10) ** power for power in range(-_LARGEST_POWER, _LARGEST_POWER + 1)]
_POWER_HIGH = np.array([float(power) for power in _POWERS])
_POWER_LOW = np.array([float(power - Fraction(float(power))) for power in _POWERS])
_POWER_HALF, _POWER_HALF_LOW = _halves(_POWER_HIGH)


class Numerals(NamedTuple):
    """values: float64 (n,). known: bool (n,): whether a cell was read; the others need another look."""

    values: NDArray[np.float64]
    known: NDArray[np.bool_]


class Marks(NamedTuple):
    """counts: how many a cell holds, or None if each holds one. last: the place of a cell's last one. int64 (n,)."""

    counts: NDArray[np.int64] | None
    last: NDArray[np.int64]


class Bytes:
    """A stretch of text, uint8 (n,), as words and places."""

    def __init__(self, text: NDArray[np.uint8]) -> None:
        padded = np.zeros(-(-len(text) // 8) * 8 + 2 * _PAD, np.uint8)
        padded[_PAD : _PAD + len(text)] = text
        self._text = padded
        self._words = padded.view(np.dtype("<u8"))

    def at(self, places: NDArray[np.int64]) -> NDArray[np.uint8]:
        """The bytes at places of the text, whose first one is 0."""
        return self._text.take(places + _PAD)

    def before(self, ends: NDArray[np.int64]) -> NDArray[np.uint64]:
        """The eight bytes before each end as a word; the last of them is its highest byte."""
        index = ends >> 3
        shift = ((ends & 7) << 3).astype(np.uint64)
        low, high = self._words.take(index), self._words.take(index + 1)
        low >>= shift
        high <<= np.uint64(64) - shift  # by 64 gives 0 in NumPy
        low |= high
        return low

    def marks(self, mark: int, starts: NDArray[np.int64], ends: NDArray[np.int64], least: int = 1) -> Marks | None:
        """Where a mark stands in cells; None if fewer than `least` are in the text."""
        places = np.flatnonzero(self._text == mark)
        if len(places) < least:
            return None
        places -= _PAD
        if len(places) == len(ends) and bool(((starts <= places) & (places < ends)).all()):
            return Marks(None, places)
        cells = ends.searchsorted(places, side="right")
        inside = starts.take(cells, mode="clip") <= places  # and not in an exponent, behind the end of its cell
        inside &= cells < len(ends)
        places, cells = places[inside], cells[inside]
        last = np.zeros(len(ends), np.int64)
        last[cells] = places
        return Marks(np.bincount(cells, minlength=len(ends)), last)


def parse_numerals(text: Bytes, starts: NDArray[np.int64], ends: NDArray[np.int64], decimal: int) -> Numerals:
    """The values of the cells text[starts:ends], each int64 (n,). decimal: the byte of the decimal mark.

    Known are cells of an optional sign, digits with at most one decimal mark, and an optional exponent, unless they are
    very long or their exponent is large; a cell without a digit is none.
    """
    first = text.at(starts)
    negative = first == _MINUS
    starts = starts + (negative | (first == _PLUS))
    exponent, ends, known = _exponent(text, starts, ends)
    found = text.marks(decimal, starts, ends)
    length = ends - starts
    if found is None:
        decimals = power = None
        known &= length > 0
    elif found.counts is None:
        decimals = ends - found.last - 1
        power = -decimals
        known &= length > 1
    else:
        has_point = found.counts == 1
        decimals = np.where(has_point, ends - found.last - 1, _NO_POINT)
        power = np.where(has_point, -decimals, 0)
        known &= (found.counts < 2) & (length > has_point)
    m, fine = _digits(text, ends, length, decimals)
    if exponent is not None:
        power = exponent if power is None else power + exponent
    values, certain = _scaled(m, power)
    known &= fine & certain
    np.negative(values, out=values, where=negative)
    return Numerals(values, known)


def _exponent(text: Bytes, starts: Any, ends: Any) -> tuple[Any, Any, Any]:
    """The exponents or None, where the digits before them end, and which cells can still be numbers."""
    least = 1 + len(ends) // 16  # a few of them are left for another look
    found = text.marks(_LOWER_E, starts, ends, least) or text.marks(_LOWER_E - 32, starts, ends, least)
    if found is None:
        return None, ends, np.ones(len(ends), np.bool_)
    count = np.ones(len(ends), np.int64) if found.counts is None else found.counts
    has_one = count == 1
    place = np.where(has_one, found.last, ends)
    sign = text.at(np.minimum(place + 1, ends))
    negative = has_one & (sign == _MINUS)
    length = np.where(has_one, ends - place - 1 - (negative | (has_one & (sign == _PLUS))), 0)
    value, fine = _digits(text, ends, np.minimum(length, 8), None)
    known = fine & (count < 2) & (length <= 8) & ((length > 0) | ~has_one) & (place > starts)
    return np.where(negative, -value.astype(np.int64), value.astype(np.int64)), place, known


def _digits(text: Bytes, ends: Any, lengths: Any, decimals: Any) -> tuple[Any, Any]:
    """The digits of cells as one whole number each, without the decimal point, and whether they were digits alone.

    lengths: bytes of the cells. decimals: digits behind the point, or _NO_POINT; None if no cell has a point.
    """
    longest = int(lengths.max(initial=0))
    value, bad = _eight(text, ends, np.minimum(lengths, 8) if longest > 8 else lengths, decimals)
    for done in range(8, min(longest, _MOST_BYTES), 8):
        rest = None if decimals is None else decimals - done
        more, bad_too = _eight(text, np.maximum(ends - done, 0), np.minimum(np.maximum(lengths - done, 0), 8), rest)
        weight = _TENS[done] if rest is None else _TENS.take(done - (rest < 0))
        bad |= bad_too
        if done == _MOST_BYTES - 8:
            bad |= (more > _MOST_LEFT).view(np.uint8)
        more *= weight
        value += more
    fine = bad == 0
    if longest > _MOST_BYTES:
        fine &= lengths <= _MOST_BYTES
    return value, fine


def _eight(text: Bytes, ends: Any, lengths: Any, decimals: Any) -> tuple[Any, Any]:
    """As `_digits`, of the last eight bytes; what is no digit leaves a bit in the second result."""
    x = text.before(ends)
    x ^= _ZEROS  # digits become their values
    unused = ((8 - lengths) << 3).astype(np.uint64)
    x >>= unused  # letters before the first digit become zeros
    x <<= unused
    if decimals is not None and decimals.min(initial=_NO_POINT) < 8:
        x = _without_point(x, decimals)
    bad = x + _OVER_NINE
    bad |= x
    bad &= _HIGH_BITS
    y = x >> np.uint64(8)
    x *= np.uint64(10)
    x += y  # each second byte is a pair
    y = x >> np.uint64(16)
    y &= _FOURS
    y *= _TO_HIGH
    x &= _FOURS
    x *= _TO_LOW
    x += y
    x >>= np.uint64(32)
    return x, bad


def _without_point(x: Any, decimals: Any) -> Any:
    """Move the bytes before the decimal point over it; decimals: bytes behind it, it is not here unless 0 to 7."""
    behind = np.minimum(decimals.view(np.uint64), np.uint64(8))  # of a point that was passed, a huge number
    behind <<= np.uint64(3)
    before = x << (behind + np.uint64(8))  # by 64 and more gives 0 in NumPy
    before >>= behind
    np.subtract(np.uint64(64), behind, out=behind)
    x >>= behind
    x <<= behind
    x |= before
    return x


def _scaled(m: Any, power: Any) -> tuple[Any, Any]:
    """m * 10^power as float64, and whether the rounding is certain."""
    is_exact = m < _EXACT
    if power is None:
        return m.astype(np.float64), is_exact
    if is_exact.all() and power.max(initial=0) <= 0 and power.min(initial=0) >= -22:
        return m / _POWER_HIGH.take(_LARGEST_POWER - power), is_exact
    return _product(m, np.clip(power, -_LARGEST_POWER, _LARGEST_POWER), np.abs(power) <= _LARGEST_POWER)


def _product(m: Any, power: Any, certain: Any) -> tuple[Any, Any]:
    high = m.astype(np.float64)
    with np.errstate(invalid="ignore"):  # what is no number may be 2^64
        low = (m - high.astype(np.uint64)).astype(np.int64).astype(np.float64)  # the difference wraps as int64 does
    place = power + _LARGEST_POWER
    ten = _POWER_HIGH.take(place)
    product = high * ten
    a, a_low = _halves(high)
    b, b_low = _POWER_HALF.take(place), _POWER_HALF_LOW.take(place)
    rest = ((a * b - product) + a * b_low + a_low * b) + a_low * b_low  # of the product, exactly
    rest += high * _POWER_LOW.take(place) + low * ten
    margin = np.abs(product) * 2.0**-95
    values = product + rest
    return values, certain & (product + (rest - margin) == product + (rest + margin))
