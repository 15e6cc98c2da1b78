"""Small and accurate: what classifiers of 4-bit weights reach with fine-tuning, with and without augmentation.

Part "mnist": 256-64-64-64-10 on MNIST scaled to 16 x 16, 12,608 bytes of weights, test accuracy of its 10,000 test
images. Each pixel is the mean of the area that it covers of the 28 x 28 image, as averaging after cropping is not.
Part "fashion": 784-128-64-10 on Fashion-MNIST, int4 beside float32.
A tenth of the training images chooses the epoch that is kept; the test images choose nothing.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks._process import run_in_one_thread
from benchmarks.datasets import find

if TYPE_CHECKING:
    from edge_runtime import Model
    from trainer.datasets import Split

PARTS = ("mnist", "fashion")
SIDE, SMALL_SIDE = 28, 16
HIDDEN = (64, 64, 64)
AUGMENT = "shift=1.5,rotate=12,scale=0.12,share=0.5"
CALIBRATION_ROWS = 4000
FLOAT: dict[str, Any] = {
    "batch_size": 256,
    "learning_rate": 0.004,
    "optimizer": "adamw",
    "monitor": "metric",
    "patience": None,
    "standardize": "global",
}
TUNED: dict[str, Any] = {"batch_size": 256, "learning_rate": 0.004, "monitor": "metric"}
AT_LEAST = {None: 0.985, AUGMENT: 0.990}  # test accuracy, without augmentation and with it
MOST_BYTES = 13_000  # of weights
MOST_LOST = 0.1  # points of accuracy, of Fashion-MNIST


def main(argv: list[str]) -> int:
    """Run the parts; exit status 1 when a stated target is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks small", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--epochs", type=int, default=200, help="in floats with augmentation (default %(default)s)")
    parser.add_argument("--tuning-epochs", type=int, default=100, help="in int4 with it (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="networks of each kind (default %(default)s)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="some instead of all")
    options = parser.parse_args(argv)
    status = run_in_one_thread("small", argv)
    if status is not None:
        return status
    checks = []
    if "mnist" in options.parts:
        checks += [
            _mnist(None, 60, 30, options.seeds),
            _mnist(AUGMENT, options.epochs, options.tuning_epochs, options.seeds),
        ]
    if "fashion" in options.parts:
        checks.append(_fashion(options.seeds))
    return 0 if all(checks) else 1


def scaled(x: np.ndarray) -> np.ndarray:
    """Images of 28 x 28, float32 (n, 784), as ones of 16 x 16, (n, 256): each pixel the mean of what it covers."""
    edges = np.linspace(0, SIDE, SMALL_SIDE + 1)
    pixels = np.arange(SIDE)
    covered = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    shares = (np.maximum(covered, 0) * SMALL_SIDE / SIDE).astype(np.float32)
    images = shares @ x.reshape(len(x), SIDE, SIDE) @ shares.T
    return np.ascontiguousarray(images.reshape(len(x), -1), np.float32)


def _parts(name: str, seed: int) -> Split:
    from trainer.datasets import load_dataset, split

    dataset = load_dataset(find(name))
    if name == "mnist":
        assert dataset.test is not None
        test = replace(dataset.test, x=scaled(dataset.test.x))
        dataset = replace(dataset, x=scaled(dataset.x), test=test)
    return split(dataset, seed=seed)


def _mnist(augment: str | None, epochs: int, tuning_epochs: int, seeds: int) -> bool:
    """Whether the mean over seeds reaches what is wanted."""
    found = []
    for seed in range(seeds):
        parts = _parts("mnist", seed)
        network = _network((256, *HIDDEN, 10), seed, l2=0.02, batch_norm=True)
        row = _tuned(network, parts, seed, {**FLOAT, "epochs": epochs}, {**TUNED, "epochs": tuning_epochs}, augment)
        found.append(row)
        _say(f"MNIST 16 x 16, 256-64-64-64-10, {augment or 'no augmentation'}, seed {seed}", row)
    mean, size = float(np.mean([row["fine-tuned"] for row in found])), found[0]["bytes"]
    is_met = mean >= AT_LEAST[augment] and size <= MOST_BYTES
    wanted = f"wanted {AT_LEAST[augment]} in {MOST_BYTES:,} B"
    print(f"  mean {mean:.4f} of {seeds} seeds in {size:,} B, {wanted}: {_word(is_met)}", flush=True)
    return is_met


def _fashion(seeds: int) -> bool:
    """Whether int4 loses no more than is allowed, in the mean over seeds."""
    from benchmarks._networks import DESIGNS, parts_of, trained

    lost = []
    for seed in range(seeds):
        parts = parts_of(DESIGNS["fashion"], seed)
        row = _shrunk(trained(DESIGNS["fashion"], parts, 25, seed), parts, seed, {"epochs": 20, "learning_rate": 0.001})
        lost.append(100 * (row["float32"] - row["fine-tuned"]))
        _say(f"Fashion-MNIST 784-128-64-10, seed {seed}", row)
    is_met = float(np.mean(lost)) <= MOST_LOST
    print(f"  mean {np.mean(lost):+.2f} points lost, wanted {MOST_LOST} at most: {_word(is_met)}")
    return is_met


def _network(sizes: tuple[int, ...], seed: int, l2: float, batch_norm: bool) -> Any:
    from trainer import NeuralNetwork, PrecisionConfig

    activations = ["relu"] * (len(sizes) - 2) + ["softmax"]
    config = PrecisionConfig(seed=seed)
    return NeuralNetwork(sizes, activations, l2_lambda=l2, precision_config=config, batch_norm=batch_norm)


def _tuned(
    network: Any, parts: Split, seed: int, floats: dict[str, Any], tuning: dict[str, Any], augment: str | None
) -> dict[str, Any]:
    """Trained in floats, then shrunk and trained on."""
    validation = (parts.validation.x, parts.validation.y)
    network.fit(parts.train.x, parts.train.y, validation_data=validation, augment=augment, **floats)
    return _shrunk(network.to_model(class_names=parts.train.class_names), parts, seed, {**tuning, "augment": augment})


def _shrunk(model: Model, parts: Split, seed: int, tuning: dict[str, Any]) -> dict[str, Any]:
    """Test accuracy in floats, in int4, and in int4 once fine-tuned, and the bytes of its weights."""
    from export.commands.pipeline import LabeledRows
    from export.quantization import Switches, quantize_beside
    from trainer import fine_tune

    started = time.perf_counter()
    spread = np.linspace(0, len(parts.train) - 1, CALIBRATION_ROWS).astype(np.int64)
    source, small, _ = quantize_beside(model, parts.train.x[spread], "int4", Switches(), 0)
    validation = (parts.validation.x, parts.validation.y)
    tuned = fine_tune(source, small, parts.train.x, parts.train.y, validation_data=validation, seed=seed, **tuning)
    test = LabeledRows(parts.test.x, parts.test.y)
    scores = {name: test.score(each) for name, each in (("float32", model), ("int4", small), ("fine-tuned", tuned))}
    size = sum(layer.arrays()["weight"].nbytes for layer in tuned.layers)
    return {**scores, "bytes": size, "seconds": time.perf_counter() - started}


def _say(what: str, row: dict[str, Any]) -> None:
    scores = ", ".join(f"{name} {row[name]:.4f}" for name in ("float32", "int4", "fine-tuned"))
    print(f"{what}: {scores}; {row['bytes']:,} B of weights; fine-tuned in {row['seconds']:.0f} s", flush=True)


def _word(is_met: bool) -> str:
    return "met" if is_met else "MISSED"
