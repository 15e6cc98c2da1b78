"""One table in many spellings: each gives the same model, to the byte, or one line that says why not."""

from __future__ import annotations

import gzip
import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from edge_runtime import load
from tests.command import run_command

N = 60
RANDOM = np.random.default_rng(3)
KINDS = np.array(["run", "sit", "walk"])[np.arange(N) % 3]
X = (np.eye(3)[np.arange(N) % 3] * 3 + RANDOM.normal(size=(N, 3))).round(3)
NAMES = ("ax", "ay", "az")


@dataclass(frozen=True)
class Spelling:
    """How the table is written."""

    separator: str = ","
    decimal: str = "."
    quotes: bool = False
    encoding: str = "utf-8"
    end: str = "\n"
    suffix: str = "csv"
    label: int = 3
    header: bool = True
    before: str = ""
    trailing: bool = False

    def content(self) -> bytes:
        """The bytes of the file."""
        rows = [[f"{value:.3f}".replace(".", self.decimal) for value in row] for row in X]
        rows = [list(NAMES), *rows] if self.header else rows
        for row, label in zip(rows, ["label", *KINDS] if self.header else KINDS, strict=True):
            row.insert(self.label, str(label))
        cells = [[f'"{cell}"' if self.quotes else cell for cell in row] for row in rows]
        last = self.separator if self.trailing else ""
        text = self.before + "".join(self.separator.join(row) + last + self.end for row in cells)
        content = text.encode(self.encoding)
        return gzip.compress(content) if self.suffix.endswith("gz") else content


def spellings():
    """Those that are there, in an order chosen by chance, in which no cell can be read in two ways."""
    axes = {
        "separator": [",", ";", "\t", "|", " "], "decimal": [".", ","], "quotes": [False, True],
        "encoding": ["utf-8", "utf-8-sig", "utf-16"], "end": ["\n", "\r\n", "\r"],
        "suffix": ["csv", "tsv", "txt", "data", "csv.gz"], "label": [0, 2, 3],
        "before": ["", "# a comment\n", "sep="], "trailing": [False, True],
    }  # fmt: skip
    every = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    for index in np.random.default_rng(0).permutation(len(every)):
        spelling = every[index]
        clashes = spelling["decimal"] == spelling["separator"] and not spelling["quotes"]
        clashes |= spelling["trailing"] and spelling["separator"] == " "
        clashes |= spelling["before"] == "sep=" and spelling["separator"] in " \t"
        if spelling["before"] == "sep=":
            spelling["before"] = f"sep={spelling['separator']}\n"
        if not clashes:
            yield Spelling(**spelling)


def train(folder, spelling, *options):
    folder.mkdir()
    data = folder / f"table.{spelling.suffix}"
    data.write_bytes(spelling.content())
    out = folder / "m.npz"
    result = run_command("train", "--data", data, "--epochs", 2, "--hidden", 3, "--out", out, "--quiet", *options)
    return result, out


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The bytes of the model of the plainest spelling."""
    result, out = train(tmp_path_factory.mktemp("plain") / "a", Spelling())
    assert result.exit_code == 0, result.stderr
    return out.read_bytes()


@pytest.mark.parametrize("spelling", list(itertools.islice(spellings(), 60)), ids=repr)
def test_each_spelling_gives_the_same_model(tmp_path, spelling, plain):
    """Separator, decimal mark, quotes, encoding, ends of lines, suffix, place of the label, what stands around it."""
    result, out = train(tmp_path / "a", spelling)
    assert result.exit_code == 0, result.stderr
    assert out.read_bytes() == plain


@pytest.mark.parametrize("label", [0, 2, 3])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_without_a_header_the_label_is_named_by_its_number(tmp_path, label, separator, plain):
    """The same weights; the columns have no names to remember."""
    result, out = train(tmp_path / "a", Spelling(label=label, separator=separator, header=False), "--label", label + 1)
    assert result.exit_code == 0, result.stderr
    (tmp_path / "plain.npz").write_bytes(plain)
    for ours, theirs in zip(load(out).layers, load(tmp_path / "plain.npz").layers, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
    assert load(out).class_names == ("run", "sit", "walk")


def test_without_a_header_a_label_that_is_not_last_is_refused_or_named(tmp_path):
    """A column of texts is never taken for a feature."""
    result, out = train(tmp_path / "a", Spelling(label=0, header=False))
    assert result.exit_code == 2
    assert "column 1 holds text in every row" in result.stderr
    assert "--label 1" in result.stderr
    assert not out.exists()


def test_a_decimal_comma_between_commas_is_refused_by_name(tmp_path):
    """Nothing could tell the two apart."""
    result, out = train(tmp_path / "a", Spelling(separator=",", decimal=","))
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not out.exists()
