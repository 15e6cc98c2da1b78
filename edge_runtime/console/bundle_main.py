"""The program of a bundle (see bundle.py): `python app.pyz --input x.csv`. It needs Python and NumPy, no click."""

from __future__ import annotations

import argparse
import pkgutil
import sys
import warnings
import zlib
from collections.abc import Sequence
from typing import NoReturn

from edge_runtime.artifact import load_bytes
from edge_runtime.console.exit_status import EXPECTED, explain, one_line
from edge_runtime.console.output_files import check_rows_output
from edge_runtime.console.reports import selftest_text
from edge_runtime.engine import OVER_BATCH, Engine, Limits, require_stored_batch, selftest
from edge_runtime.errors import ArtifactError, InputError
from edge_runtime.files import parse_bytes, read_rows, write_rows
from edge_runtime.model import Model
from edge_runtime.reference import range_warning


def main(prog_name: str) -> None:
    """Do what the command line asks of the bundled model and end the process: for its status see `failures`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, of an overflow: the outputs show that
            status = _command(sys.argv[1:], prog_name)
    except EXPECTED as error:
        text, status = explain(error, is_bundle=True)
        if text:
            print(f"error: {one_line(text)}", file=sys.stderr)
    sys.exit(status)


def _command(arguments: Sequence[str], prog_name: str) -> int:
    parser = _parser(prog_name)
    options = parser.parse_args(arguments)
    if (options.input is None) != options.selftest:
        parser.error("expected --input or --selftest, one of them")
    model = _bundled_model()
    limits = Limits(ram_bytes=options.ram_bytes, max_batch=options.max_batch, over=options.over_batch)
    if not options.selftest:
        return _run(model, limits, options)
    require_stored_batch(model, limits)
    result = selftest(model, limits)
    print(selftest_text(result))
    return 0 if result.ok else 1


def _bundled_model() -> Model:
    try:
        content = pkgutil.get_data("bundled", "model.npz") or b""
    except (zlib.error, ImportError, EOFError) as error:
        raise ArtifactError(f"{sys.argv[0]}: the bundle is damaged ({error}); copy it here again") from None
    return load_bytes(content, "model.npz")


def _run(model: Model, limits: Limits, options: argparse.Namespace) -> int:
    if options.classes and model.metadata.get("target") in ("regression", "autoencoder"):
        raise InputError("the model gives values and not classes; leave --classes out")
    check_rows_output(options.output, [options.input, sys.argv[0]], force=options.force)
    engine = Engine(model, limits)
    rows = read_rows(options.input, n_in=model.n_in)
    warning = range_warning(model, rows)
    if warning is not None:
        print(f"warning: {warning}", file=sys.stderr)
    answers = engine.predict(rows) if options.classes else engine.run(rows)
    write_rows(options.output, answers, class_names=model.class_names or None)
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Wrong usage, in one line as everything else that goes wrong."""
        raise InputError(f"{message} (see '{self.prog} --help')")


def _parser(prog_name: str) -> argparse.ArgumentParser:
    parser = _Parser(prog_name, description="Run the bundled model on rows of raw values, or prove it here.")
    parser.add_argument("--input", help="rows to run: .npy, .npz, .csv, or - for standard input")
    parser.add_argument("--output", default="-", help=".npy, .csv, or - for standard output (default)")
    parser.add_argument("--classes", action="store_true", help="write the class of each row instead of all outputs")
    parser.add_argument("--force", action="store_true", help="replace an output file even where it is something else")
    parser.add_argument("--selftest", action="store_true", help="replay the stored test vectors; status 1 if they fail")
    parser.add_argument("--ram-bytes", type=_bytes, help="refuse to run in more memory than this, such as 64K")
    parser.add_argument("--max-batch", type=int, help="rows sent through the network together")
    parser.add_argument("--over-batch", choices=OVER_BATCH, default="split", help="what to do with more rows than that")
    return parser


def _bytes(text: str) -> int:
    try:
        return parse_bytes(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
