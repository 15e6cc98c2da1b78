"""Time per epoch of training, and the loss curve, against PyTorch (eager) and scikit-learn's MLPClassifier.

The same optimizer (SGD), loss, batch size and number of rows, random order, no dropout, one thread. A round is some
epochs of every tool in turn; the figures are medians over rounds. Rows are random numbers: nothing is to be learned.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
import warnings
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

from benchmarks._process import run_in_one_thread

# sizes, batch size, and the largest ratios to PyTorch and scikit-learn that are aimed at
CASES = [((784, 64, 10), 32, 0.33, 0.38), ((784, 128, 64, 10), 128, 0.60, 0.60)]
RATE = 0.1


def main(argv: list[str]) -> int:
    """Print a line per network; 1 where a ratio is over its target or the loss curves differ."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks train", description=__doc__)
    parser.add_argument("--rows", type=int, default=12_800, help="training rows (default %(default)s)")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of each tool in a round (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds (default %(default)s)")
    options = parser.parse_args(argv)
    status = run_in_one_thread("train", argv)
    if status is not None:
        return status
    import numpy as np

    peers = [name for name in ("torch", "sklearn") if _version(name)]
    for name in {"torch", "sklearn"} - set(peers):
        print(f"{name} is not installed: skipped")
    versions = ", ".join(f"{name} {_version(name)}" for name in ("numpy", *peers))
    print(f"{versions}; Python {platform.python_version()}, {os.cpu_count()} cores, one thread")
    print(f"median of {options.rounds} rounds of {options.epochs} epochs over {options.rows:,} rows, tools in turn\n")
    rng = np.random.default_rng(0)
    x, y = rng.random((options.rows, 784), np.float32), rng.integers(0, 10, options.rows)
    is_ok = True
    for sizes, batch_size, *targets in CASES:
        runs = {"smallnet": _smallnet(x, y, sizes, batch_size)}
        makers = {"torch": _torch, "sklearn": _sklearn}
        runs |= {name: makers[name](x, y, sizes, batch_size) for name in peers}
        is_ok &= _compare(runs, sizes, batch_size, dict(zip(("torch", "sklearn"), targets, strict=True)), options)
    if "torch" in peers:
        is_ok &= _same_curve(x[:2000], y[:2000])
    return 0 if is_ok else 1


def _version(name: str) -> str:
    try:
        return str(__import__(name).__version__)
    except ImportError:
        return ""


def _compare(runs: dict[str, Any], sizes: Any, batch_size: int, targets: dict[str, float], options: Any) -> bool:
    times: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        run(1)  # imports, caches, first allocations
    for _ in range(options.rounds):
        for name, run in runs.items():
            started = time.perf_counter()
            run(options.epochs)
            times[name].append((time.perf_counter() - started) / options.epochs)
    steps = -(-options.rows // batch_size)
    print(f"{'-'.join(map(str, sizes))}, batch {batch_size}")
    mine, is_ok = median(times["smallnet"]), True
    for name, values in times.items():
        middle, spread = median(values), (max(values) - min(values)) / median(values)
        line = f"  {name:9} {1e3 * middle:8.1f} ms an epoch {1e6 * middle / steps:8.1f} us a step  spread {spread:4.0%}"
        if name != "smallnet":
            is_met = mine / middle <= targets[name]
            is_ok &= is_met
            line += (
                f"  smallnet/{name}: {mine / middle:.3f}x, target {targets[name]:.2f}x {'met' if is_met else 'MISSED'}"
            )
        print(line)
    print()
    return is_ok


def _smallnet(x: Any, y: Any, sizes: tuple[int, ...], batch_size: int) -> Callable[[int], object]:
    from trainer import NeuralNetworkModel

    network = NeuralNetworkModel(sizes, ["relu"] * (len(sizes) - 2) + ["softmax"])
    return lambda epochs: network.fit(x, y, epochs=epochs, batch_size=batch_size, learning_rate=RATE)


def _torch_network(torch: Any, sizes: tuple[int, ...]) -> Any:
    layers: list[Any] = []
    for n_in, n_out in pairwise(sizes):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def _torch(x: Any, y: Any, sizes: tuple[int, ...], batch_size: int) -> Callable[[int], object]:
    import torch

    torch.set_num_threads(1)
    network = _torch_network(torch, sizes)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    loss_function = torch.nn.CrossEntropyLoss()
    rows, labels = torch.from_numpy(x), torch.from_numpy(y)

    def run(epochs: int) -> None:
        for _ in range(epochs):
            order, total = torch.randperm(len(rows)), 0.0
            for start in range(0, len(rows), batch_size):
                batch = order[start : start + batch_size]
                optimizer.zero_grad()
                loss = loss_function(network(rows[batch]), labels[batch])
                loss.backward()
                optimizer.step()
                total += loss.item()  # the loss of the epoch, which the other two record as well

    return run


def _sklearn(x: Any, y: Any, sizes: tuple[int, ...], batch_size: int) -> Callable[[int], object]:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    network = MLPClassifier(
        sizes[1:-1],
        solver="sgd",
        momentum=0.0,
        nesterovs_momentum=False,
        alpha=0.0,
        batch_size=batch_size,
        learning_rate_init=RATE,
        tol=0.0,
        n_iter_no_change=10**6,
    )

    def run(epochs: int) -> None:
        network.set_params(max_iter=epochs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            network.fit(x, y)

    return run


def _same_curve(x: Any, y: Any) -> bool:
    """Three epochs in float64 from the same weights in the same order: the losses of both tools."""
    import numpy as np
    import torch

    from trainer import NeuralNetworkModel, PrecisionConfig

    sizes = (784, 64, 10)
    mine = NeuralNetworkModel(sizes, ["relu", "softmax"], precision_config=PrecisionConfig(train_dtype="float64"))
    network = _torch_network(torch, sizes).double()
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for layer, weights, bias in zip(linear, mine.weights, mine.biases, strict=True):
            layer.weight.copy_(torch.from_numpy(weights.T.copy()))
            layer.bias.copy_(torch.from_numpy(bias.copy()))
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE)
    orders = np.arange(len(x))
    generator = np.random.Generator(np.random.PCG64())
    generator.bit_generator.state = mine.rng.bit_generator.state  # the order in which smallnet will shuffle
    history = mine.fit(x, y, epochs=3, batch_size=32, learning_rate=RATE)
    rows, labels, losses = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(y), []
    for _ in range(3):
        generator.shuffle(orders)
        order, total = torch.from_numpy(orders.copy()), 0.0
        for start in range(0, len(rows), 32):
            batch = order[start : start + 32]
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(rows[batch]), labels[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(rows))
    difference = max(abs(a - b) for a, b in zip(history.loss, losses, strict=True))
    is_same = difference <= 1e-10
    print(f"loss after 3 epochs in float64: {history.loss[-1]:.12f}, PyTorch {losses[-1]:.12f}")
    print(f"largest difference of the three: {difference:.1e}, target 1e-10 {'met' if is_same else 'MISSED'}")
    return is_same
