"""The machine code of a program for Arm, as objdump lists it: what the loops of a function hold."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tests.c.compilers import run, tool

Function = dict[int, str]  # instructions by their addresses, in order
_MULTIPLIES = re.compile(r"(smlad|smla[bt][bt]|mla|muls?)\b")
_LOADS_A_WEIGHT = re.compile(
    r"(sxtb16|sxtb|ldrsb|ands?|ubfx|lsrs?)\b"
)  # signed bytes, four of them, or halves of bytes
_CALLS = re.compile(r"blx?\s")
_BRANCHES = re.compile(r"(?:b(?P<condition>eq|ne|cs|cc|mi|pl|vs|vc|hi|ls|ge|lt|gt|le)?(?:\.[nw])?|(?P<zero>cbn?z))\s+"
                       r"(?:\w+, )?(?P<target>[0-9a-f]+) <")  # fmt: skip
_RETURNS = re.compile(r"bx\s|pop\w*\s.*pc|ldm\w*(\.w)?\s.*pc")


def functions(program: Path, prefix: str) -> dict[str, Function]:
    """The functions of a program for Arm whose names begin so."""
    found: dict[str, Function] = {}
    current: Function = {}
    for line in run([tool("arm-none-eabi-objdump"), "-d", "--no-show-raw-insn", program]).splitlines():
        if line.endswith(">:"):
            current = found.setdefault(line.split("<")[1][:-2], {})
        elif ":\t" in line:
            address, _, text = line.partition(":\t")
            current[int(address, 16)] = text
    return {name: function for name, function in found.items() if name.startswith(prefix)}


def inner_loops(function: Function) -> Iterator[list[str]]:
    """For each multiplication with a weight: the shortest way that leads from it back to it."""
    for address, text in function.items():
        if _MULTIPLIES.match(text):
            loop = [function[at] for at in _shortest_way(function, address)]
            if any(_LOADS_A_WEIGHT.match(line) for line in loop):
                yield loop


def calls(instructions: list[str]) -> list[str]:
    """Those that call a function."""
    return [text for text in instructions if _CALLS.match(text)]


def _shortest_way(function: Function, start: int) -> list[int]:
    """The addresses on the way from `start` back to it; none where no way leads back."""
    following = dict(zip(function, list(function)[1:], strict=False))
    before: dict[int, int] = {}
    waiting = deque([start])
    while waiting:
        at = waiting.popleft()
        for then in _successors(function[at], following.get(at)):
            if then in function and then not in before:
                before[then] = at
                waiting.append(then)
    way = [before[start]] if start in before else []
    while way and way[-1] != start:
        way.append(before[way[-1]])
    return way


def _successors(text: str, following: int | None) -> Iterator[int]:
    branch = _BRANCHES.match(text)
    if branch:
        yield int(branch["target"], 16)
    always = (branch and not branch["condition"] and not branch["zero"]) or _RETURNS.match(text)
    if following is not None and not always:
        yield following
