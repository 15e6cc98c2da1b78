"""Scores of ways to make a network small, collected over seeds and printed as one table, and what was wanted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from benchmarks._networks import Case, Design
from benchmarks._quantizers import CHOSEN, FINE_TUNED, PRECISIONS, Small, Way

MOST_LOST = {Way("int8", "", CHOSEN): 0.1, Way("int4", "", CHOSEN): 0.3, Way("int4", "", FINE_TUNED): 0.1}
MOST_LOST[Way("3 bits", "", CHOSEN)] = 1.0  # points of accuracy, mean over seeds
LEAST_DB = {Way("int8", "", CHOSEN): 40.0, Way("int8-a16", "", CHOSEN): 55.0}  # of autoencoders with BatchNorm


class Score(NamedTuple):
    """Of test rows: signal to noise of the logits, and points of accuracy lost, 0 for an autoencoder."""

    decibels: float
    lost: float


@dataclass
class Table:
    """All ways of one network."""

    design: Design
    scores: dict[Way, list[Score]] = field(default_factory=dict)
    accuracies: list[float] = field(default_factory=list)
    _reference: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def refer_to(self, case: Case) -> None:
        """Whose float answers the next ways are held beside."""
        from edge_runtime import Engine

        self._reference = Engine(case.model).logits(case.test)

    def begin(self, case: Case) -> None:
        """With the float network of the next seed, once it is referred to."""
        self.accuracies.append(_accuracy(case, self._reference))

    def add(self, case: Case, small: Small) -> None:
        """One way's answers."""
        from export.quantization.fidelity import sqnr_db

        lost = self.accuracies[-1] - _accuracy(case, small.logits)
        score = Score(sqnr_db(self._reference, small.logits), lost)
        self.scores.setdefault(small.way, []).append(score)

    def last(self) -> str:
        """The scores of the last seed, as JSON."""
        scores = [[*way, *found[-1]] for way, found in self.scores.items() if len(found) == len(self.accuracies)]
        return json.dumps({"accuracy": self.accuracies[-1], "scores": scores})

    def take(self, text: str) -> set[str]:
        """What `last` gave for a seed; the tools whose scores are in it, "" for ours."""
        found = json.loads(text)
        self.accuracies.append(found["accuracy"])
        for *way, decibels, lost in found["scores"]:
            self.scores.setdefault(Way(*way), []).append(Score(decibels, lost))
        return {tool for _, tool, *_ in found["scores"]}

    def print(self) -> bool:
        """The table and the targets; whether all of these were met."""
        precisions = [precision for precision in PRECISIONS if any(way.precision == precision for way in self.scores)]
        print(f"\n## {self.design.title}, {len(self.accuracies)} seeds{self._of_float()}\n")
        print(f"| | {' | '.join(precisions)} |\n|---|{'---|' * len(precisions)}")
        for name, ways in self._rows().items():
            print(f"| {name} | {' | '.join(self._cell(ways.get(precision)) for precision in precisions)} |")
        print()
        for text in self._settings():
            print(text)
        found = [*self._lost(), *self._decibels(), *self._beside()]
        for text, is_met in found:
            print(f"{text}{'' if is_met else '  MISSED'}")
        return all(is_met for _, is_met in found)

    def _rows(self) -> dict[str, dict[str, Way]]:
        """By the name of a row, and by precision: each way of ours, and of another tool the best of its settings."""
        rows: dict[str, dict[str, Way]] = {}
        for way in self.scores:
            if not way.tool:
                rows.setdefault(way.name, {})[way.precision] = way
        for tool in dict.fromkeys(way.tool for way in self.scores if way.tool):
            for name, best in self._best_of(tool).items():
                rows[f"{tool}, {name}"] = best
        return rows

    def _best_of(self, tool: str) -> dict[str, dict[str, Way]]:
        """With the most decibels, and of classifiers with the fewest points lost, by precision."""
        settings: dict[str, list[Way]] = {}
        for way in self.scores:
            if way.tool == tool:
                settings.setdefault(way.precision, []).append(way)
        found = {"most dB": {key: max(ways, key=self._decibels_of) for key, ways in settings.items()}}
        if not self.design.is_autoencoder:
            found["fewest points lost"] = {key: min(ways, key=self._lost_of) for key, ways in settings.items()}
        return found

    def _settings(self) -> list[str]:
        """Which settings of other tools those are."""
        rows = {name: ways for name, ways in self._rows().items() if any(way.tool for way in ways.values())}
        texts = {name: ", ".join(f"{way.precision} {way.name}" for way in ways.values()) for name, ways in rows.items()}
        return [f"{name}: {text}" for name, text in texts.items()]

    def _cell(self, way: Way | None) -> str:
        """Decibels, and in brackets the points of accuracy lost: mean over the seeds and half of the range."""
        if way is None:
            return "-"
        decibels = around([score.decibels for score in self.scores[way]], 1)
        lost = [score.lost for score in self.scores[way]]
        return decibels if self.design.is_autoencoder else f"{decibels} ({around(lost, 2)})"

    def _decibels_of(self, way: Way) -> float:
        return _mean([score.decibels for score in self.scores[way]])

    def _lost_of(self, way: Way) -> tuple[float, float]:
        """Points; of equals that with more decibels."""
        return _mean([score.lost for score in self.scores[way]]), -self._decibels_of(way)

    def _of_float(self) -> str:
        return "" if self.design.is_autoencoder else f"; float32 {spread(self.accuracies, 2)}"

    def _lost(self) -> list[tuple[str, bool]]:
        """Points of accuracy that were wanted."""
        if self.design.is_autoencoder:
            return []
        means = {way: self._lost_of(way)[0] for way in MOST_LOST if way in self.scores}
        return [
            (
                f"{way.precision} {way.name} loses {round(mean, 2) + 0.0:.2f} points, at most {MOST_LOST[way]:g}",
                mean <= MOST_LOST[way],
            )
            for way, mean in means.items()
        ]

    def _decibels(self) -> list[tuple[str, bool]]:
        """Decibels that were wanted."""
        if not self.design.batch_norm:
            return []
        means = {way: self._decibels_of(way) for way in LEAST_DB if way in self.scores}
        return [
            (f"{way.precision} {way.name} has {mean:.1f} dB, at least {LEAST_DB[way]:g}", mean >= LEAST_DB[way])
            for way, mean in means.items()
        ]

    def _beside(self) -> list[tuple[str, bool]]:
        """What is chosen beside the other tools' settings with the most decibels, by precision."""
        found = []
        for way in [way for way in self.scores if way.name == CHOSEN]:
            others = [other for other in self.scores if other.tool and other.precision == way.precision]
            if others:
                best = max(others, key=self._decibels_of)
                found.append(self._against(way, best))
        return found

    def _against(self, way: Way, best: Way) -> tuple[str, bool]:
        pairs = list(zip(self.scores[way], self.scores[best], strict=True))
        ahead = [ours.decibels - theirs.decibels for ours, theirs in pairs]
        lost = "" if self.design.is_autoencoder else f", {spread([o.lost - t.lost for o, t in pairs], 2)} points lost"
        text = f"{way.precision} {way.name} beside {best.tool}, {best.name}: {spread(ahead, 1)} dB{lost}"
        return text, _mean(ahead) >= 0


def spread(values: list[float], digits: int) -> str:
    """The mean, and the range in brackets."""
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return f"{_mean(values):.{digits}f} ({low}..{high})"


def around(values: list[float], digits: int) -> str:
    """The mean, and of several half of their range."""
    mean = f"{round(_mean(values), digits) + 0.0:.{digits}f}"  # no -0.0
    return mean if len(values) == 1 else f"{mean} \N{PLUS-MINUS SIGN}{np.ptp(values) / 2:.{digits}f}"


def _accuracy(case: Case, logits: np.ndarray) -> float:
    """Points, 0 for an autoencoder."""
    return 0.0 if case.labels is None else 100 * float(np.mean(logits.argmax(axis=1) == case.labels))


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
