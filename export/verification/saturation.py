"""How somebody's file is run so that no processor saturates: with an option, and not at the levels where it is no help.

The reader knows the weights, however they are stored.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from export.onnx_reader import Imported
from export.onnx_writer import PRECISE, WITH_TRANSFORMATIONS, saturating_layers

Config = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Precaution:
    """config: session options to run with. by_integers: integer operators saturate where the option does nothing."""

    config: Config = ()
    by_integers: bool = False

    def runs_at(self, level: str) -> bool:
        """Whether the file gives the same answers at this level on every processor."""
        return not self.by_integers or level in WITH_TRANSFORMATIONS

    def notes(self, levels: Iterable[str]) -> tuple[str, ...]:
        """What to say of a check at these levels: a line, or none."""
        skipped = [level for level in levels if not self.runs_at(level)]
        if not skipped:
            return ()
        return (
            f"not compared with onnxruntime at {', '.join(map(repr, skipped))}: integer operators of the file may "
            "saturate in 16 bits on x86 CPUs without VNNI, and no session option prevents it at "
            f"{'that level' if len(skipped) == 1 else 'those levels'}",
        )


def precaution_for(source: Imported) -> Precaution:
    """For a file that was read."""
    found = saturating_layers(source.int8_products)
    return Precaution((PRECISE,) if found else (), any(found.values()))
