"""Fuzz the readers: `python -m tests.fuzz --reader artifact --runs 100000`.

Every reader (artifact, checkpoint, onnx, csv, npy, npz, idx) is given bytes that atheris, which is libFuzzer for
Python, chooses by the code they reach. Whatever the bytes, the answer must be a value or the reader's one documented
error, in bounded time and memory, touching no file but its own; what was read must run and be stored again. See
`readers` for each reader's check, `watch` for the bounds, `mutate_*` for the damage that is done (artifacts get a fresh
SHA-256, zip members a fresh CRC, ONNX files are changed field by field), `corpus` for the inputs to start from.

Exit status 1 where there is a finding: each is printed with the file that holds its input. Once it is mended, put that
file into `corpus/READER/mended-CAUSE`: a test reads every one of them. `--keep FOLDER` keeps all inputs that reached
new code, of which `python -m tests.fuzz.choose FOLDER` takes the smallest into the corpus.
`python -m tests.fuzz --reader csv --input FILE` tries one file and shows the traceback.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path


def main(argv: list[str]) -> int:
    """Run campaigns one after the other and print what was counted."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--reader", action="append", help="which; may be given more than once (default: all)")
    parser.add_argument("--runs", type=int, default=20_000, help="inputs for each reader (default 20,000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), help="folder for inputs that are one")
    parser.add_argument("--keep", type=Path, help="folder for inputs that reached new code, by reader")
    parser.add_argument("--input", type=Path, help="try this one file and show the traceback")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args(argv)

    from tests.fuzz.campaign import fuzz
    from tests.fuzz.readers import READERS

    names = options.reader or list(READERS)
    if options.input is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(READERS[names[0]].check(options.input.read_bytes(), Path(folder)))
        return 0
    started, tallies = time.monotonic(), []
    for name in names:
        keep = None if options.keep is None else options.keep / name
        tallies.append(fuzz(name, options.runs, options.seed, options.findings.resolve(), keep))
        if not options.as_json:
            print(_line(tallies[-1]), flush=True)
    seconds = time.monotonic() - started
    facts = {"readers": [asdict(tally) for tally in tallies], "inputs": sum(tally.inputs for tally in tallies),
             "findings": sum(len(tally.findings) for tally in tallies), "seconds": seconds,
             "conditions": _conditions(options.seed)}  # fmt: skip
    if options.as_json:
        print(json.dumps(facts, indent=2))
    else:
        print(f"{facts['inputs']:,} inputs, {facts['findings']} findings, {seconds:.0f} s; {facts['conditions']}")
    return 1 if facts["findings"] else 0


def _line(tally) -> str:
    rate = tally.inputs / max(tally.seconds, 1e-9)
    text = (
        f"{tally.reader:10}  {tally.inputs:9,} inputs  {tally.taken:9,} read  {tally.edges:6,} edges  "
        f"{len(tally.findings)} findings  {tally.seconds:6.0f} s  {rate:6.0f} /s"
    )
    return "\n".join([text, *(f"    {cause}\n        {path}" for cause, path in tally.findings.items())])


def _conditions(seed: int) -> str:
    import numpy
    import onnx

    return (
        f"seed {seed}, atheris {metadata.version('atheris')}, Python {platform.python_version()}, "
        f"NumPy {numpy.__version__}, onnx {onnx.__version__}, {platform.machine()}, {time.strftime('%Y-%m-%d')}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
