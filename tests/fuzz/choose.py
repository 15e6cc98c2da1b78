"""Choose the corpus to commit: `python -m tests.fuzz.choose KEPT`, KEPT as `python -m tests.fuzz --keep KEPT` left it.

Of the inputs that a campaign kept, the smallest are taken that together reach every step from line to line which any of
them reaches and no seed does. Inputs of mended findings (`mended-*`) stay.
"""

from __future__ import annotations

import hashlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.campaign import CORPUS
from tests.fuzz.readers import READERS, Reader

_LONGEST = 4096  # bytes: the whole corpus stays at a few hundred kilobytes
Steps = set[tuple[str, int, int]]
_ROOT = str(Path(__file__).parents[2])
_PACKAGES = tuple(f"{_ROOT}/{name}/" for name in ("edge_runtime", "export", "trainer"))


def steps_of(check: Callable[[], Any]) -> Steps:
    """The steps from line to line, within functions of the three packages, that a call takes."""
    steps: Steps = set()

    def enter(frame: FrameType, event: str, argument: Any) -> Any:
        name = frame.f_code.co_filename
        if not name.startswith(_PACKAGES):
            return None
        last = [0]

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            if event == "line":
                steps.add((name, last[0], frame.f_lineno))
                last[0] = frame.f_lineno
            return line

        return line

    sys.settrace(enter)
    try:
        check()
    finally:
        sys.settrace(None)
    return steps


def choose(reader: Reader, kept: Path) -> list[bytes]:
    """The smallest inputs of the folder that add steps, smallest first."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for content in reader.seeds():  # imports what is imported late
            reader.check(content, folder)
        known = set().union(*(steps_of(lambda c=c: reader.check(c, folder)) for c in reader.seeds()))
        chosen = []
        contents = {path.read_bytes() for path in kept.glob("*") if path.stat().st_size <= _LONGEST}
        for content in sorted(contents, key=lambda c: (len(c), c)):
            added = steps_of(lambda c=content: reader.check(c, folder)) - known
            if added:
                chosen.append(content)
                known |= added
    return chosen


def main(argv: list[str]) -> int:
    """Replace the corpus of every reader that the folder has inputs of."""
    for name, reader in READERS.items():
        kept = Path(argv[0], name)
        if not kept.is_dir():
            continue
        chosen, folder = choose(reader, kept), CORPUS / name
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.glob("*"):
            if not path.name.startswith("mended-"):
                path.unlink()
        for content in chosen:
            (folder / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)
        print(f"{name:10}  {len(chosen):4} of {len(list(kept.glob('*'))):5} inputs, {sum(map(len, chosen)):8,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
