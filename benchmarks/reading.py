"""Reading tables of 133 MB: `read_table` beside pandas' `read_csv`, in turns, where pandas is installed.

Three kinds of table: whole numbers (images), six decimals (sensors), and the 17 digits of float64, with a column of
texts. Ratios are of the processor's time, the best of the rounds; memory is the peak of a process of its own.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edge_runtime.files import read_file, read_table

MEGABYTE = 1_000_000
_PEAK = "{code}; print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"


def main(argv: list[str]) -> int:
    """Print a line for each kind of table: seconds of both, their ratio, and the peak of memory."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks reading", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--megabytes", type=int, default=133)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(argv)
    pandas = _pandas()
    with tempfile.TemporaryDirectory() as folder:
        for kind, lines in KINDS.items():
            path = Path(folder, f"{kind}.csv")
            _write(path, lines, options.megabytes * MEGABYTE)
            ways: dict[str, Callable[[Path], Any]] = {"smallnet": lambda path: read_table(read_file(path), str(path))}
            ways |= {} if pandas is None else {"pandas": pandas.read_csv}
            print(_line(kind, path, _seconds(ways, path, options.rounds), pandas is not None), flush=True)
            path.unlink()
    return 0


def _pandas() -> Any:
    try:
        return importlib.import_module("pandas")
    except ImportError:
        print("pandas is not installed: no ratios")
        return None


def _seconds(ways: dict[str, Callable[[Path], Any]], path: Path, rounds: int) -> dict[str, float]:
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(rounds):
        for name, read in ways.items():
            started = time.process_time()
            read(path)
            best[name] = min(best[name], time.process_time() - started)
    return best


def _line(kind: str, path: Path, seconds: dict[str, float], has_pandas: bool) -> str:
    code = f"from edge_runtime.files import *; read_table(read_file({str(path)!r}), 'x')"
    peaks = [f"smallnet {_peak(code)} MiB"]
    peaks += [f"pandas {_peak(f'import pandas; pandas.read_csv({str(path)!r})')} MiB"] if has_pandas else []
    ratio = f"  ratio {seconds['smallnet'] / seconds['pandas']:.2f}" if has_pandas else ""
    times = ", ".join(f"{name} {value:.2f} s" for name, value in seconds.items())
    return f"{kind:9} {path.stat().st_size / MEGABYTE:.0f} MB: {times}{ratio}; peak {', '.join(peaks)}"


def _peak(code: str) -> str:
    """Of a process of its own, in MiB; where Linux tells it."""
    if not Path("/proc/self/status").exists():
        return "?"
    found = subprocess.check_output([sys.executable, "-c", _PEAK.format(code=code)], text=True)
    return f"{int(found) // 1024:,}"


def _write(path: Path, lines: Callable[[np.random.Generator], list[str]], size: int) -> None:
    """A header and lines of the kind, some thousands of them again and again."""
    text = lines(np.random.default_rng(0))
    names = ",".join(f"c{index}" for index in range(text[0].count(",") + 1))
    block = ("\n".join(text) + "\n").encode()
    with open(path, "wb") as file:
        file.write(f"{names}\n".encode())
        for _ in range(max(1, size // len(block))):
            file.write(block)


def _images(draw: np.random.Generator) -> list[str]:
    pixels = np.where(draw.random((2000, 785)) < 0.5, 0, draw.integers(0, 256, (2000, 785)))
    return [",".join(map(str, row)) for row in pixels.tolist()]


def _sensors(draw: np.random.Generator) -> list[str]:
    return [",".join(f"{value:.6f}" for value in row) for row in draw.normal(size=(20_000, 28)).tolist()]


def _digits(draw: np.random.Generator) -> list[str]:
    rows = draw.normal(size=(20_000, 28)).tolist()
    return [",".join(map(repr, row)) + (",run" if row[0] > 0 else ",sit") for row in rows]


KINDS = {"images": _images, "sensors": _sensors, "17 digits": _digits}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
