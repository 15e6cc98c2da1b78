"""Campaigns over the readers: each in a process of its own, one after the other, counted."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.fuzz.findings import Tally
from tests.fuzz.readers import READERS

CORPUS = Path(__file__).with_name("corpus")
_ROOT = Path(__file__).parents[2]
_MEMORY = Path("/dev/shm")  # a disk would be the slowest part
_RUNS = 100_000  # of one process: under atheris it grows by some kilobytes with each ONNX file
_LONGEST = 16_384  # bytes of an input
_STATUS = re.compile(r"^#(\d+)\s.*\bcov: (\d+) ft: (\d+)", re.MULTILINE)


def corpus_of(name: str) -> list[Path]:
    """The committed inputs of a reader: those that a campaign found to reach new code, and those of mended findings."""
    return sorted(path for path in (CORPUS / name).glob("*") if path.is_file())


def fuzz(name: str, runs: int, seed: int, findings: Path, keep: Path | None = None) -> Tally:
    """Try `runs` inputs on a reader. findings: folder for inputs that are one. keep: folder for the grown corpus.

    libFuzzer's crash (a killed process, a hang over a minute, memory over 2 GB) is a finding too. Edges are those of
    the last process: each reads what the ones before it have kept.
    """
    with tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as folder:
        corpus = keep or Path(folder, "corpus")
        corpus.mkdir(parents=True, exist_ok=True)
        for index, content in enumerate(READERS[name].seeds()):
            (corpus / f"seed-{index:02d}").write_bytes(content)
        for path in corpus_of(name):
            shutil.copy(path, corpus / path.name)
        total = Tally(name)
        for start in range(0, runs, _RUNS):
            part = Path(folder, str(start))
            part.mkdir()
            total = total.then(_process(name, min(_RUNS, runs - start), seed + start // _RUNS, corpus, part, findings))
        return total


def _process(name: str, runs: int, seed: int, corpus: Path, folder: Path, findings: Path) -> Tally:
    """One process of libFuzzer. folder: its own, empty."""
    tally_path = folder / "tally.json"
    options = [f"-runs={runs}", f"-seed={seed}", f"-max_len={_LONGEST}", "-timeout=60", "-rss_limit_mb=2048",
               "-len_control=0", "-mutate_depth=2", f"-artifact_prefix={folder}/libfuzzer-"]  # fmt: skip
    command = [sys.executable, "-m", "tests.fuzz.guided", name, str(corpus), str(tally_path), str(findings)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([*command, *options], cwd=_ROOT, env=environment, capture_output=True, check=False)
    log = done.stderr.decode(errors="replace")
    tally = Tally.read(tally_path) if tally_path.exists() else Tally(name)
    status = _STATUS.findall(log)
    if status:
        tally.inputs, tally.edges, tally.features = (int(number) for number in status[-1])
    if done.returncode:
        crash = next(folder.glob("libfuzzer-*"), None)
        content = crash.read_bytes() if crash else b""
        tally.add(f"process ended with {done.returncode}: {log[-2000:]}", content, findings)
    return tally
