"""One reader's campaign in a process of its own: libFuzzer, through atheris, chooses the inputs by coverage.

Started by `tests.fuzz.campaign`: libFuzzer ends its process when it is done, and edges are counted only in modules that
were imported under its instrumentation.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
import sys
import time
from pathlib import Path

import atheris

_VALUES = ["edge_runtime.files", "edge_runtime.numerics"]
_TABLES = [*_VALUES, "trainer.data", "trainer.datasets", "trainer.arrays", "export.verification.dumps"]
ROOMS = {  # whose code chooses a reader's inputs: to instrument the others takes longer than a short campaign
    "artifact": [*_VALUES, "edge_runtime.artifact", "edge_runtime.layers", "edge_runtime.model", "edge_runtime.engine"],
    "checkpoint": [*_VALUES, "trainer.fitting", "trainer.network", "trainer.model", "trainer.optimizers"],
    "onnx": [*_VALUES, "export.onnx_reader", "edge_runtime.layers", "edge_runtime.model"],
    **dict.fromkeys(("csv", "npy", "npz", "idx"), _TABLES),
}


def import_all(rooms: list[str]) -> None:
    """Import each file of these rooms: those that are imported inside of functions would escape."""
    for room in map(importlib.import_module, rooms):
        for module in pkgutil.walk_packages(getattr(room, "__path__", []), f"{room.__name__}."):
            importlib.import_module(module.name)


with atheris.instrument_imports(include=ROOMS[sys.argv[1]]):
    import_all(ROOMS[sys.argv[1]])
from tests.fuzz.findings import Tally  # noqa: E402
from tests.fuzz.mutate_bytes import Mutate  # noqa: E402
from tests.fuzz.readers import READERS  # noqa: E402
from tests.fuzz.watch import Watch  # noqa: E402

_WRITTEN_EVERY = 1000  # inputs; what the last ones were is lost, because libFuzzer ends the process itself
_FRESH = 0.35  # of the inputs are made from a valid one: the corpus fills up with ways to be refused


def mutator(mutate: Mutate, inputs: list[bytes]):
    """A custom mutator for libFuzzer: the format's own damage, or one time in five libFuzzer's own."""

    def mutated(data: bytes, max_size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < _FRESH:
            data = rng.choice(inputs)
        if rng.random() < 0.2:
            return bytes(atheris.Mutate(data, max_size))
        return mutate(bytes(data), rng)[:max_size]

    return mutated


def main(name: str, corpus: str, tally_path: str, findings: str, *options: str) -> None:
    """Fuzz the reader `name` from the inputs in the folder `corpus`; options: libFuzzer's own, such as -runs=1000."""
    reader = READERS[name]
    folder = Path(tally_path).with_name("scratch")
    folder.mkdir()
    watch, tally, started = Watch(reader, folder), Tally(name), time.monotonic()

    def one_input(content: bytes) -> None:
        finding = watch(content)
        if finding is not None:
            tally.add(finding, content, Path(findings))
        if finding is not None or watch.inputs % _WRITTEN_EVERY == 0 or watch.inputs <= 1:
            tally.inputs, tally.taken, tally.seconds = watch.inputs, watch.taken, time.monotonic() - started
            tally.write(Path(tally_path))

    def mutate(content: bytes, rng: random.Random) -> bytes:
        try:
            return reader.mutate(content, rng)
        except Exception as error:  # libFuzzer would hang on it
            tally.add(f"the mutator fails at {type(error).__name__}: {error}", content, Path(findings))
            tally.write(Path(tally_path))
            return content

    custom = mutator(mutate, reader.seeds())
    atheris.Setup([sys.argv[0], *options, corpus], one_input, custom_mutator=custom)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
