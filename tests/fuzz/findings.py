"""Findings of a campaign: one for each cause, with the first input that showed it in a file."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path


@dataclass
class Tally:
    """What one reader's campaign counted. findings: {cause: file with the input}."""

    reader: str
    inputs: int = 0
    taken: int = 0
    edges: int = 0
    features: int = 0
    seconds: float = 0.0
    findings: dict[str, str] = field(default_factory=dict)

    def add(self, finding: str, content: bytes, folder: Path) -> None:
        """Note a finding; keep the input of the first one of its cause."""
        cause = re.sub(r"\d[\d,.]*", "#", finding.partition(": ")[0]) if finding[:5] in ("slow:", "memor") else finding
        cause = cause.partition(": ")[0]
        if cause in self.findings:
            return
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.reader}-{hashlib.sha256(content).hexdigest()[:12]}"
        path.write_bytes(content)
        path.with_suffix(".txt").write_text(finding + "\n", encoding="utf-8", errors="backslashreplace")
        self.findings[cause] = str(path)

    def then(self, after: Tally) -> Tally:
        """This and what a later process counted."""
        sums = {key: getattr(self, key) + getattr(after, key) for key in ("inputs", "taken", "seconds")}
        return replace(after, **sums, findings={**after.findings, **self.findings})

    def write(self, path: Path) -> None:
        """As JSON, replaced in one step: the process that reads it may look at any time."""
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self)), encoding="utf-8")
        temporary.replace(path)

    @classmethod
    def read(cls, path: Path) -> Tally:
        """What `write` wrote."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))
