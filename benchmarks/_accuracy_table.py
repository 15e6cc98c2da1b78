"""Scores of ways to make a network small, collected over seeds and printed as one table, and what was wanted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from benchmarks._networks import Case, Design
from benchmarks._quantizers import CHOSEN, FINE_TUNED, Small, Way

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

    def begin(self, case: Case) -> None:
        """Of the next seed."""
        from edge_runtime import Engine

        self._reference = Engine(case.model).logits(case.test)
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

    def take(self, text: str) -> None:
        """What `last` gave for a seed."""
        found = json.loads(text)
        self.accuracies.append(found["accuracy"])
        for *way, decibels, lost in found["scores"]:
            self.scores.setdefault(Way(*way), []).append(Score(decibels, lost))

    def print(self) -> bool:
        """The table and the targets; whether all of these were met."""
        print(f"\n## {self.design.title}, {len(self.accuracies)} seeds{self._of_float()}\n")
        lost = "" if self.design.is_autoencoder else " points lost |"
        print(f"| precision | way |{lost} dB |\n|---|---|---|{'' if self.design.is_autoencoder else '---|'}")
        for way in sorted(self._shown(), key=lambda way: _ORDER.index(way.precision)):
            print(self._line(way))
        print()
        found = [*self._lost(), *self._decibels(), *self._beside()]
        for text, is_met in found:
            print(f"{text}{'' if is_met else '  MISSED'}")
        return all(is_met for _, is_met in found)

    def _shown(self) -> list[Way]:
        """All ways of ours; of the settings of another tool the most decibels, and the fewest points lost."""
        families: dict[tuple[str, str], list[Way]] = {}
        for way in self.scores:
            families.setdefault((way.tool, way.precision), []).append(way)
        shown = []
        for (tool, _precision), ways in families.items():
            best = {max(ways, key=self._decibels_of), min(ways, key=self._lost_of)}
            shown += [way for way in ways if not tool or way in best]
        return shown

    def _decibels_of(self, way: Way) -> float:
        return _mean([score.decibels for score in self.scores[way]])

    def _lost_of(self, way: Way) -> tuple[float, float]:
        """Points; of equals that with more decibels."""
        return _mean([score.lost for score in self.scores[way]]), -self._decibels_of(way)

    def _of_float(self) -> str:
        return "" if self.design.is_autoencoder else f"; float32 {spread(self.accuracies, 2)}"

    def _line(self, way: Way) -> str:
        name = f"{way.tool}: {way.name}" if way.tool else way.name
        lost = "" if self.design.is_autoencoder else f" {spread([s.lost for s in self.scores[way]], 2)} |"
        return f"| {way.precision} | {name} |{lost} {spread([s.decibels for s in self.scores[way]], 1)} |"

    def _lost(self) -> list[tuple[str, bool]]:
        """Points of accuracy that were wanted."""
        if self.design.is_autoencoder:
            return []
        means = {way: self._lost_of(way)[0] for way in MOST_LOST if way in self.scores}
        return [
            (f"{way.precision} {way.name} loses {mean:.2f} points, at most {MOST_LOST[way]:g}", mean <= MOST_LOST[way])
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


_ORDER = ("int8", "int8-a16", "int4", "3 bits")


def spread(values: list[float], digits: int) -> str:
    """The mean, and the range in brackets."""
    low, high = (f"{value:.{digits}f}" for value in (min(values), max(values)))
    return f"{_mean(values):.{digits}f} ({low}..{high})"


def _accuracy(case: Case, logits: np.ndarray) -> float:
    """Points, 0 for an autoencoder."""
    return 0.0 if case.labels is None else 100 * float(np.mean(logits.argmax(axis=1) == case.labels))


def _mean(values: list[float]) -> float:
    return float(np.mean(values))
