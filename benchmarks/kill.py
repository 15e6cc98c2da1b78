"""Kill saving, exporting and training at random moments: is a file ever torn, missing or different?

saves: an artifact is replaced again and again. exports: `smallnet export` over the files of another model; every second
time it is killed as soon as it writes. trainings: `smallnet train --checkpoint`, up to six kills a run, then resumed to
its end, where its artifact must have the bytes of a run that nothing disturbed. interrupts: Ctrl-C during `smallnet
export`, from its imports on: exit status 130, one line and no traceback, the old files whole, no litter.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main(argv: list[str]) -> int:
    """Print how many processes were killed alive and that nothing was found; 1 where something was."""
    from tests.killing import CAMPAIGNS

    parser = argparse.ArgumentParser(prog="python -m benchmarks kill", description=__doc__)
    parser.add_argument("--kills", type=int, default=30, help="moments for each campaign (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args(argv)
    facts: dict[str, Any] = {"python": platform.python_version(), "system": platform.platform(), "campaigns": {}}
    for name, campaign in CAMPAIGNS.items():
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                killed, found = campaign(Path(folder), options.kills, options.seed, _say), ""
            except AssertionError as error:
                killed, found = 0, str(error)
        facts["campaigns"][name] = {
            "moments": options.kills,
            "killed_alive": killed,
            "found": found,
            "seconds": round(time.monotonic() - started, 1),
        }
    if options.json:
        print(json.dumps(facts, indent=2))
    else:
        print(f"Python {facts['python']}, {facts['system']}")
        for name, row in facts["campaigns"].items():
            outcome = row["found"] or "nothing torn, missing or different"
            print(f"{name}: {row['killed_alive']} stopped in {row['seconds']:.0f} s: {outcome}")
    return 1 if any(row["found"] for row in facts["campaigns"].values()) else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
