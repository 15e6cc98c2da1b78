"""Docstrings and comments are whole: none was torn when its lines were wrapped again, or a word in it changed."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = ("edge_runtime", "trainer", "export", "tests", "benchmarks", ".ci")
WIDTH = 120
SLACK = 10  # a line may end so many letters early: nobody counts them while writing
ENDS_A_SENTENCE = re.compile(r"[.:;?!][\"'`)]*$")
BEGINS_AN_ITEM = re.compile(r"([-*|>]|\d+[.:]|[\w`*.]+(, [\w`*.]+)*:) ")  # of a list, or "parameter: what it is"
GAP = re.compile(r"\S( {2,})\S")  # between two columns


class Line(NamedTuple):
    """A line of prose without its marks (quotes, #): its number, where it begins, how wide it is with them."""

    number: int
    text: str
    indent: int
    width: int


def paragraphs(source: str) -> Iterator[list[Line]]:
    """The paragraphs of all docstrings and comments."""
    lines = source.splitlines()
    for statement in ast.walk(ast.parse(source)):
        if isinstance(statement, ast.Expr) and _is_text(statement.value):
            yield from _split((n, lines[n - 1]) for n in range(statement.lineno, statement.end_lineno + 1))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = [token for token in tokens if token.type == tokenize.COMMENT and token.line.lstrip().startswith("#")]
    yield from _split((token.start[0], token.line.rstrip()) for token in comments)


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _split(lines: Iterator[tuple[int, str]]) -> Iterator[list[Line]]:
    """Paragraphs end at an empty line and where the indentation changes, comments also where code stands between."""
    found: list[Line] = []
    for number, raw in lines:
        line = _line(number, raw)
        if found and not (line.text and (line.number, line.indent) == (found[-1].number + 1, found[-1].indent)):
            yield found
            found = []
        if line.text:
            found.append(line)
    if found:
        yield found


def _line(number: int, raw: str) -> Line:
    marks, text = re.fullmatch(r'(\s*(?:r?"""|# ?)?\s*)(.*?)(?:""")?', raw).groups()
    indent = len(marks.replace("r", "").replace('"', ""))
    return Line(number, text, indent, len(marks) + len(text))


def torn_lines(source: str) -> list[int]:
    """The numbers of lines that end before their time, or that do not stand in the columns of their table."""
    return [number for paragraph in paragraphs(source) for number in _torn(paragraph)]


def _torn(paragraph: list[Line]) -> list[int]:
    if _is_code(paragraph):
        return []
    if sum(bool(GAP.search(line.text)) for line in paragraph) >= 2:
        return _out_of_column(paragraph)
    return [line.number for line, following in pairwise(paragraph) if _ends_early(line, following.text)]


def _ends_early(line: Line, following: str) -> bool:
    """Whether the next word has room on a line in mid-sentence. A lone word on the next is held to the letter."""
    if ENDS_A_SENTENCE.search(line.text) or BEGINS_AN_ITEM.match(f"{following} "):
        return False
    first, *more = following.split()
    return line.width + 1 + len(first) <= WIDTH - (SLACK if more else 0)


def _out_of_column(paragraph: list[Line]) -> list[int]:
    """Lines of a table that do not begin a word where most others begin their second column."""
    gaps = [GAP.search(line.text) for line in paragraph]
    starts = [gap.end(1) if gap else 0 for gap in gaps]
    usual = max(starts, key=starts.count)
    return [line.number for line, start in zip(paragraph, starts, strict=True) if start != usual]


def _is_code(paragraph: list[Line]) -> bool:
    """An example: Python reads it. A sentence it does not, but for one of a single word."""
    try:
        ast.parse("\n".join(line.text for line in paragraph))
    except SyntaxError:
        return False
    return True


SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def test_no_docstring_and_no_comment_is_torn() -> None:
    """In the product, the tests and the benchmarks: a line in mid-sentence takes each word that it has room for."""
    found = [(path, torn_lines(path.read_text(encoding="utf-8"))) for path in SOURCES]
    places = [
        f"{path.relative_to(ROOT)}:{number}: wrap this paragraph again" for path, lines in found for number in lines
    ]
    assert len(SOURCES) > 300
    assert not places, "\n".join(places)


PAGES = sorted(path for folder in ("", *FOLDERS) for path in (ROOT / folder).glob("**/*.md" if folder else "*.md"))


def page_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a page with their numbers, without code, tables and marks."""
    is_code = False
    for number, line in enumerate(text.splitlines(), 1):
        is_code ^= line.startswith("```")
        if not is_code and not line.startswith(("```", "|", "#", "<!--")):
            yield number, line


def test_no_page_is_torn() -> None:
    """A line in mid-sentence takes each word that it has room for, and a paragraph begins with a word."""
    wrong = []
    for path in PAGES:
        for paragraph in _split(page_lines(path.read_text(encoding="utf-8"))):
            torn = _torn(paragraph) + [paragraph[0].number] * (paragraph[0].text[0] in ",.;:)")
            wrong += [f"{path.relative_to(ROOT)}:{number}" for number in torn]
    assert len(PAGES) >= 8
    assert not wrong, "\n".join(wrong)


LONG = (
    "a sentence that goes on and on until the line that it stands on is as good as full and there is no room for it now"
)


@pytest.mark.parametrize(
    ("text", "torn"),
    [
        (f'"""{LONG}\nand ends."""', []),
        ('"""A line that ends early\nalthough its sentence goes on to the next."""', [1]),
        (f'"""First.\n\n{LONG}\ngoes on and\ntherefore is torn.\n"""', [4]),
        (f'"""{LONG[:110]}\nalone\nand then another line."""', [1, 2]),
        (f'"""{LONG[:105]}\nand more words."""', []),  # few letters early
        ('"""One sentence ends here.\nAnother begins; it may\nbegin a line: so do lists."""', [2]),
        ('"""What is given:\n\nx: the rows\ny, z: labels\n- an item\n- another item\n"""', []),
        ('def f():\n    # A comment that is\n    # torn.\n    return 1', [2]),
        ("x = 1  # beside code\ny = 2  # and another\n# alone\nz = 3\n# and alone", []),
        ('"""Use it.\n\nnet = fit(x,\n    y)\nnet.run(x)\n"""', []),
        ('"""Names.\n\nfirst   what the first is\nsecond  what it is\nthird   the rest\n"""', []),
        ('"""Names.\n\nfirst   what the first is, and\nmore\nsecond  what it is\nthird   the rest\n"""', [4]),
        ('"""Names.\n\none     what it\nis two  what it is\nthree   a\nfour and five   b\n"""', [6]),
    ],
)  # fmt: skip
def test_what_is_torn(text: str, torn: list[int]) -> None:
    """Lines that end in mid-sentence with room left, and rows out of column; no lists, code, tables or line ends."""
    assert torn_lines(text) == torn
