"""The defaults of training on public tables, beside scikit-learn's networks and linear models, and int8 of each.

Every tool gets the same arrays and the same split (a fifth is held out, each class with its share). Ours are
`NeuralNetwork.fit` with nothing said, on raw values, and its int8 model as `smallnet export` makes it. scikit-learn's
stand behind a StandardScaler; of the regressors, the network gets its targets standardized too, without which its
defaults fail. Scores are accuracy and R^2 (mean over targets) of held-out rows, times 100, mean over seeds; seconds are
the process's own, of training alone.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks._process import run_in_one_thread

_MLP_GOAL, _TABLE_GOAL, _LINEAR_GOAL, _INT8_GOAL = -0.3, -2.0, -2.0, 0.5  # points


def main(argv: list[str]) -> int:
    """Print a line per table and the sums; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tables", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="splits of each table (default %(default)s)")
    parser.add_argument("--only", default="", help="tables whose names hold this text")
    parser.add_argument("--folder", help="where the packages of tables are put and found (default: a temporary one)")
    options = parser.parse_args(argv)
    status = run_in_one_thread("tables", argv)
    if status is not None:
        return status
    from benchmarks._public_tables import LICENCES

    print(f"{_versions()}; one thread, {options.seeds} seeds")
    print("\n".join(f"tables of {text}" for text in LICENCES.values()) + "\n")
    with tempfile.TemporaryDirectory() as temporary:
        results = _measured(Path(options.folder or temporary), options)
    return 0 if all([_summary("classification", results), _summary("regression", results)]) else 1


def _versions() -> str:
    import numpy
    import sklearn

    return f"Python {platform.python_version()}, NumPy {numpy.__version__}, scikit-learn {sklearn.__version__}"


@dataclass(frozen=True)
class Result:
    """One table, mean over seeds: scores times 100 and seconds."""

    name: str
    task: str
    rows: int
    features: int
    ours: float
    int8: float
    network: float
    linear: float
    seconds: float
    network_seconds: float

    @property
    def gap(self) -> float:
        """Points to the better of the other two; below 0 is worse."""
        return self.ours - max(self.network, self.linear)

    def __str__(self) -> str:
        scores = f"{self.ours:6.2f} {self.int8:6.2f} {self.network:7.2f} {self.linear:7.2f}  {self.gap:+6.2f}"
        times = f"{self.seconds:6.2f} {self.network_seconds:6.2f}"
        return f"{self.name:16} {self.rows:6,} x {self.features:3}  {scores}  {times}"


def _measured(folder: Path, options: Any) -> list[Result]:
    from benchmarks._public_tables import public_tables

    print(f"{'table':16} {'rows x columns':>12}    ours   int8     MLP  linear   to best   s ours  MLP")
    results = []
    for table in public_tables(folder, lambda name: options.only in name):
        results.append(_result(table, options.seeds))
        print(results[-1], flush=True)
    return results


def _result(table: Any, seeds: int) -> Result:
    import numpy as np

    found = [_run(table, seed) for seed in range(seeds)]
    task = "classification" if table.is_classification else "regression"
    return Result(table.name, task, *table.x.shape, *np.mean(found, axis=0))


def _run(table: Any, seed: int) -> list[float]:
    """Scores of ours, int8, network and linear model, then seconds of ours and the network."""
    from sklearn.model_selection import train_test_split

    labels = table.y if table.is_classification else None
    x, held, y, truth = train_test_split(table.x, table.y, test_size=0.2, random_state=seed, stratify=labels)
    network, seconds = _timed(lambda: _ours(x, y, seed))
    ours = [100 * network.score(held, truth), 100 * _int8_score(network, x, held, truth)]
    others = [_timed(partial(_fitted, make, seed, x, y)) for make in _others(table.is_classification)]
    return ours + [100 * other.score(held, truth) for other, _ in others] + [seconds, others[0][1]]


def _fitted(make: Callable[[int], Any], seed: int, x: Any, y: Any) -> Any:
    return make(seed).fit(x, y)


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's network says that 200 epochs did not suffice
        before = time.process_time()
        return work(), time.process_time() - before


def _ours(x: Any, y: Any, seed: int) -> Any:
    import numpy as np

    from trainer import NeuralNetwork, PrecisionConfig
    from trainer.fitting import Defaults

    hidden = Defaults.hidden
    n_out, last = (len(np.unique(y)), "softmax") if y.ndim == 1 else (y.shape[1], "linear")
    sizes, names = [x.shape[1], *hidden, n_out], [Defaults.activation] * len(hidden) + [last]
    network = NeuralNetwork(sizes, names, precision_config=PrecisionConfig(seed=seed))
    network.fit(x, y)
    return network


def _int8_score(network: Any, x: Any, held: Any, truth: Any) -> float:
    import numpy as np

    from edge_runtime import Engine
    from export.quantization import quantize

    model, rows = network.to_model(), x.astype(np.float32)
    outputs = Engine(quantize(model, rows, "int8")).run(held.astype(np.float32))
    if truth.ndim == 1:
        return float(np.mean(network.classes_[outputs.argmax(axis=1)] == truth))
    error = np.square(truth - outputs).sum(axis=0)
    return float(np.mean(1 - error / np.square(truth - truth.mean(axis=0)).sum(axis=0)))


def _others(is_classification: bool) -> list[Callable[[int], Any]]:
    """scikit-learn's network and linear model, by the seed, with their defaults behind a scaler."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def scaled(model: Any) -> Any:
        return make_pipeline(StandardScaler(), model)

    if is_classification:
        return [lambda seed: scaled(MLPClassifier(random_state=seed)), lambda seed: scaled(LogisticRegression())]
    return [
        lambda seed: TransformedTargetRegressor(scaled(MLPRegressor(random_state=seed)), transformer=StandardScaler()),
        lambda seed: scaled(LinearRegression()),
    ]


def _summary(task: str, results: list[Result]) -> bool:
    """Print how the tables of one task did; whether they met the goals."""
    import numpy as np

    chosen = [result for result in results if result.task == task]
    if not chosen:
        return True
    beside = {name: np.mean([r.ours - getattr(r, name) for r in chosen]) for name in ("network", "linear")}
    int8_loss = float(np.mean([r.ours - r.int8 for r in chosen]))
    far = [f"{r.name} ({r.gap:+.1f})" for r in chosen if r.gap < _TABLE_GOAL]
    if task == "regression":
        below = [f"{r.name} ({r.ours - r.linear:+.1f})" for r in chosen if r.ours - r.linear < _LINEAR_GOAL]
        far_text = f"more than 2 below the linear model: {', '.join(below) or 'none'}; below the better of both: "
    else:
        below, far_text = far, "more than 2 points below the better of both: "
    ratio = float(np.median([r.seconds / r.network_seconds for r in chosen]))
    print(f"\n{task}, {len(chosen)} tables: mean {np.mean([r.ours for r in chosen]):.2f}")
    print(f"  {beside['network']:+.2f} beside scikit-learn's network, {beside['linear']:+.2f} beside the linear model")
    print(f"  {far_text}{', '.join(far) or 'none'}")
    print(f"  int8 loses {int8_loss:.2f} on average; training takes {ratio:.2f} of the time of scikit-learn's network")
    is_met = beside["network"] >= _MLP_GOAL and not below and int8_loss <= _INT8_GOAL
    print(f"  goals {'met' if is_met else 'MISSED'}")
    return bool(is_met)
