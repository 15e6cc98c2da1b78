"""The program of a bundle (see bundle.py): `python app.pyz --input x.csv`. It needs Python and NumPy, no click."""

from __future__ import annotations

import argparse
import json
import pkgutil
import sys
import zlib
from collections.abc import Sequence
from typing import Any, NoReturn

from edge_runtime.artifact import load_bytes
from edge_runtime.console.device import Job, prove, run_rows
from edge_runtime.console.entry import MOST_THREADS
from edge_runtime.console.exit_status import EXPECTED, explain, one_line
from edge_runtime.console.messages import be_quiet, note, one_line_warnings, say
from edge_runtime.console.wording import HELP
from edge_runtime.engine import BACKENDS, OVER_BATCH, Limits
from edge_runtime.errors import ArtifactError, InputError, NativeUnavailable
from edge_runtime.files import parse_bytes
from edge_runtime.model import Model
from edge_runtime.native import use_library


def main(prog_name: str) -> None:
    """Do what the command line asks of the bundled model and end the process: for its status see `explain`."""
    try:
        with one_line_warnings():
            status = _command(sys.argv[1:], prog_name)
    except EXPECTED as error:
        text, status = explain(error, is_bundle=True)
        if text:
            say(f"error: {one_line(text)}")
    sys.exit(status)


def _command(arguments: Sequence[str], prog_name: str) -> int:
    parser = _parser(prog_name)
    options = parser.parse_args(arguments)
    if (options.input is None) != options.selftest:
        parser.error("expected --input or --selftest, one of them")
    if options.json and not options.selftest:
        parser.error("--json goes with --selftest; answers to rows are a table")
    be_quiet(options.quiet)
    limits = Limits(
        ram_bytes=options.ram_bytes,
        flash_bytes=options.flash_bytes,
        device=options.device,
        speed_factor=options.speed_factor,
        max_batch=options.max_batch,
        over=options.over_batch,
        lean=options.lean,
    )
    backend = _backend(options.backend)
    if options.selftest:
        return prove(_bundled_model(), limits, backend, as_json=options.json)
    job = Job(options.input, options.output, options.classes, options.force, options.max_bytes, options.jsonl, backend)
    run_rows(job, [sys.argv[0]], lambda: (_bundled_model(), limits))
    return 0


def _bundled_model() -> Model:
    try:
        content = pkgutil.get_data("bundled", "model.npz") or b""
    except (zlib.error, ImportError, EOFError) as error:
        raise ArtifactError(f"{sys.argv[0]}: the bundle is damaged ({error}); copy it here again") from None
    return load_bytes(content, "model.npz")


def _backend(wanted: str | None) -> str:
    """What is asked for; else the kernels that came with the bundle, if they run here."""
    try:
        needs = pkgutil.get_data("bundled", "kernels.json")
    except OSError:
        needs = None
    if needs is None or wanted == "numpy":
        return wanted or "numpy"
    try:
        use_library(pkgutil.get_data("bundled", "kernels.so") or b"", json.loads(needs))
    except NativeUnavailable as error:
        note(str(error))
    return wanted or "auto"


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Wrong usage, in one line as everything else that goes wrong."""
        raise InputError(f"{message} (see '{self.prog} --help')")


def _parser(prog_name: str) -> argparse.ArgumentParser:
    parser = _Parser(prog_name, description="Run the bundled model on rows of raw values, or prove it here.")

    def add(name: str, note: str = "", **settings: Any) -> None:
        parser.add_argument(f"--{name}", help=HELP[name] + note, **settings)

    add("input", metavar="PATH")
    add("output", " (default: -)", metavar="PATH", default="-")
    add("classes", action="store_true")
    add("jsonl", action="store_true")
    add("force", action="store_true")
    parser.add_argument(
        "--selftest", action="store_true", help="Replay the stored test vectors; status 1 if they fail."
    )
    add("ram-bytes", type=_bytes, metavar="BYTES")
    add("flash-bytes", type=_bytes, metavar="BYTES")
    add("device", metavar="NAME")
    add("speed-factor", type=float, metavar="N", default=1.0)
    add("max-batch", type=int, metavar="N")
    add("over-batch", choices=OVER_BATCH, default="split")
    add("backend", choices=BACKENDS)
    add("lean", action="store_true")
    add("max-bytes", type=_bytes, metavar="BYTES")
    add("json", action="store_true")
    add("threads", type=_threads, metavar="N")  # see edge_runtime.console.entry, which has done it by now
    add("quiet", action="store_true")
    return parser


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _threads(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_THREADS:
        raise argparse.ArgumentTypeError(f"{text!r} found, expected a whole number from 1 to {MOST_THREADS:,}")
    return int(text)
