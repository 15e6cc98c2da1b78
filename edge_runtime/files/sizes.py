"""Numbers of bytes as people write them."""

from __future__ import annotations

import re

_SHIFTS = {"": 0, "K": 10, "M": 20, "G": 30}


def parse_bytes(text: str, least: int = 1) -> int:
    """The bytes in text such as 1000000, 512K, 64M or 2G, in powers of 1024. Raises ValueError for anything else."""
    match = re.fullmatch(r"(0|[1-9][0-9]{0,15})([KMG]?)", text.upper(), re.ASCII)
    size = -1 if match is None else int(match[1]) << _SHIFTS[match[2]]
    if size < least:
        raise ValueError(f"{text!r} found, expected bytes such as 1000000, 512K, 64M or 2G")
    return size
