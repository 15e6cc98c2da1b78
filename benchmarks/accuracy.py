"""What training reaches and quantization costs, step by step and beside other quantizers, over seeds with their spread.

Part "classify": 784-256-128-64-10 and 784-128-64-10, one seed: accuracy of float32, float16 and int8 on test rows.
Part "quantize": classifiers 784-128-64-10 and a deep autoencoder, without and with BatchNorm, of each seed. Every way
gets the same weights, the same 4,000 calibration rows and the same test rows. Points of accuracy lost and signal to
noise of the outputs before softmax (dB), mean and range over seeds. Other tools take part if a Python of --peers has
them; of all their settings those with the most decibels and the fewest points lost, on these test rows, are printed.
Part "ranges": the same networks, one seed, from the ranges of training rows alone, beside calibration rows.
Part "auto": the fewest bytes within 0.2 points of a classifier, and within 0.05 % of the error of an autoencoder.
Part "time": quantizing 784-256-128-64-10 with all steps on 4,000 rows.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._process import run_in_one_thread

if TYPE_CHECKING:
    from benchmarks._accuracy_table import Table

PARTS = ("classify", "quantize", "ranges", "auto", "time")
MOST_SECONDS = 20.0


def main(argv: list[str]) -> int:
    """Run the parts; exit status 1 when a stated target is missed."""
    options = _arguments(argv)
    status = run_in_one_thread("accuracy", argv)
    if status is not None:
        return status
    print(f"{options.epochs} epochs, {options.seeds} seeds, one thread")
    checks = []
    with tempfile.TemporaryDirectory() as temporary:
        options.folder = Path(options.folder or temporary)
        if "classify" in options.parts:
            checks.append(_classify("fashion", [256, 128, 64], options, at_least=0.895))
            checks.append(_classify("mnist", [256, 128, 64], options, at_least=0.982))
            checks.append(_classify("fashion", [128, 64], options, at_least=0.0))
        if "quantize" in options.parts:
            checks += _quantize(options)
        if "ranges" in options.parts:
            _ranges(options)
        if "auto" in options.parts:
            checks += [_auto("fashion", "accuracy", 0.2, options), _auto("autoencoder", "rmse", 0.05, options)]
        if "time" in options.parts:
            checks.append(_time(options))
    return 0 if all(checks) else 1


def _arguments(argv: list[str]) -> Any:
    from benchmarks._networks import DESIGNS

    parser = argparse.ArgumentParser(
        prog="python -m benchmarks accuracy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=25, help="of classifiers; a third of it of autoencoders")
    parser.add_argument("--seeds", type=int, default=5, help="networks of each kind (default %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="some instead of all")
    parser.add_argument("--networks", nargs="+", choices=DESIGNS, default=list(DESIGNS), help="some instead of all")
    parser.add_argument("--folder", help="where trained networks are put and found (default: a temporary one)")
    parser.add_argument("--resume", action="store_true", help="add to the scores that an earlier run left in --folder")
    parser.add_argument("--peers", nargs="*", default=[], metavar="PYTHON", help="that may have other quantizers")
    return parser.parse_args(argv)


def _classify(name: str, hidden: list[int], options: Any, at_least: float) -> bool:
    from benchmarks._networks import Design, parts_of, trained
    from export.commands.pipeline import LabeledRows
    from export.quantization import quantize

    design = Design("", name, tuple(hidden))
    parts = parts_of(design, seed=0)
    started = time.perf_counter()
    model = trained(design, parts, options.epochs, seed=0)
    seconds = time.perf_counter() - started
    test = LabeledRows(parts.test.x, parts.test.y)
    scores = {kind: test.score(quantize(model, parts.train.x, kind)) for kind in ("float32", "float16", "int8")}
    drops = {kind: 100 * (scores["float32"] - scores[kind]) for kind in ("float16", "int8")}
    is_met = scores["float32"] >= at_least and abs(drops["float16"]) <= 0.05 and drops["int8"] <= 0.2
    print(
        f"{name} 784-{'-'.join(map(str, hidden))}-10: float32 {scores['float32']:.4f}, "
        f"float16 {scores['float16']:.4f} ({drops['float16']:+.2f} points lost), "
        f"int8 {scores['int8']:.4f} ({drops['int8']:+.2f} points lost); trained in {seconds:.0f} s"
        f"{'' if is_met else '  TARGET MISSED'}",
        flush=True,
    )
    return is_met


def _quantize(options: Any) -> list[bool]:
    """A table for each network, and what was wanted of it."""
    from benchmarks._quantizers import installed

    peers = installed([sys.executable, *options.peers])
    print("beside " + ", ".join(f"{peer.tool} {peer.version}" for peer in peers))
    return [_table(key, peers, options).print() for key in options.networks]


def _table(key: str, peers: Any, options: Any) -> Table:
    from benchmarks._accuracy_table import Table
    from benchmarks._networks import DESIGNS, case
    from benchmarks._quantizers import fine_tuned, ours, theirs

    table = Table(DESIGNS[key])
    for seed in range(options.seeds):
        path = options.folder / f"{key}-{options.epochs}-epochs-seed-{seed}.json"
        is_known = options.resume and path.exists()
        tools = table.take(path.read_text(encoding="utf-8")) if is_known else set()
        lacking = [peer for peer in peers if peer.tool not in tools]
        if is_known and not lacking:
            continue
        started = time.perf_counter()
        network = case(key, options.epochs, seed, options.folder)
        table.refer_to(network)
        if not is_known:
            table.begin(network)
            for small in (*ours(network), *fine_tuned(network)):
                table.add(network, small)
        for peer in lacking:
            for small in theirs(network, peer):
                table.add(network, small)
        path.write_text(table.last(), encoding="utf-8")
        print(f"{DESIGNS[key].title}, seed {seed}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return table


def _ranges(options: Any) -> None:
    from benchmarks._networks import DESIGNS, case
    from benchmarks._quantizers import without_rows

    for key in options.networks:
        network = case(key, options.epochs, 0, options.folder)
        for precision, stored, given in without_rows(network):
            print(f"{DESIGNS[key].title}, {precision}: stored ranges {stored}; 4,000 rows {given}", flush=True)


def _auto(key: str, metric: str, most: float, options: Any) -> bool:
    """Chosen on the validation rows, judged on the test rows."""
    from benchmarks._networks import DESIGNS, case
    from edge_runtime.model import weight_bytes
    from export.quantization import AllowedDrop, Switches, choose_within, judged_answers, mix_text, quantize

    network = case(key, options.epochs, 0, options.folder)
    known = network.validation if network.labels is None else network.validation_labels
    wanted = network.test if network.labels is None else network.labels
    started = time.perf_counter()
    choice = choose_within(
        network.model, network.calibration, network.validation, known, AllowedDrop(metric, most), Switches()
    )
    seconds, judge = time.perf_counter() - started, choice.judge_on(network.test, wanted)
    drop = judge.drop(judged_answers(choice.quantized.model, network.test, metric))
    int8 = weight_bytes(quantize(network.model, network.calibration, "int8", test_vectors=0))
    print(
        f"{DESIGNS[key].title}, auto within {judge.allowed.text(most)}: {mix_text(choice.chosen.layers)}, "
        f"{choice.chosen.bytes:,} bytes of weights beside {int8:,} of int8; {judge.allowed.text(drop)} lost on "
        f"{len(network.test):,} test rows, {len(choice.trials)} mixes tried in {seconds:.0f} s"
        f"{'' if judge.allowed.allows(drop) else '  TARGET MISSED'}",
        flush=True,
    )
    return judge.allowed.allows(drop)


def _time(options: Any) -> bool:
    from benchmarks._networks import CALIBRATION_ROWS, Design, parts_of, trained
    from export.quantization import quantize

    design = Design("", "fashion", (256, 128, 64))
    parts = parts_of(design, seed=0)
    model, rows = trained(design, parts, 1, seed=0), parts.train.x[:CALIBRATION_ROWS]
    started = time.perf_counter()
    tried: dict[str, float] = {}
    quantize(model, rows, "int8", on_choice=tried.update)
    seconds = time.perf_counter() - started
    is_met = seconds <= MOST_SECONDS
    print(
        f"784-256-128-64-10 to int8 on {len(rows):,} rows, {len(tried)} ways tried: {seconds:.1f} s"
        f"{'' if is_met else f'  TARGET of {MOST_SECONDS:g} s MISSED'}"
    )
    return is_met
