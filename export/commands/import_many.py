"""`smallnet import` of folders or of several files: one table of what is read, and of what is refused and why."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from edge_runtime.console import Progress, check_folder, check_output, explain, refuse_inputs
from edge_runtime.errors import InputError, OutputRefused, SmallnetError
from edge_runtime.files import fit_table, make_folder, printable
from export.commands.importing import Checked, checked, network_text
from export.commands.reports import import_facts
from export.onnx_reader import import_onnx
from export.verification import RunLimits

READ, REFUSED, DIFFERS = "read", "refused", "DIFFERS"
_OF_ONE_FILE = (SmallnetError, MemoryError, OSError)  # the table goes on with the next one
_NODE = re.compile(r"node '[^']*' \(([\w.]+), output '[^']*'\): ")


class Task(NamedTuple):
    """A file to import. out: the artifact, "" where nothing is written."""

    path: str
    out: str


def tasks_of(paths: Sequence[str], out: str | None, *, force: bool = False) -> list[Task]:
    """Every .onnx file among the paths and in the folders below them, sorted; hidden folders and links aside.

    out: the folder of the artifacts, which have the files' names and places, or None. Raises InputError where there is
    no such file or where two would be written to one place, and as `check_output`, before any work.
    """
    files = [(file, start) for path in paths for file, start in _files_of(path)]
    if not files:
        raise InputError(f"{', '.join(paths)}: no file ends in .onnx, expected one at least")
    tasks = [Task(file, "" if out is None else _artifact_of(file, start, out)) for file, start in files]
    if out is not None:
        _check_artifacts(tasks, out, force)
    return tasks


def _files_of(path: str) -> Iterator[tuple[str, str]]:
    """The files that a path names, each with the folder that its place is told from."""
    if not os.path.isdir(path):
        yield path, os.path.dirname(path)
        return
    unreadable: list[OSError] = []
    for folder, below, names in os.walk(path, onerror=unreadable.append):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for name in sorted(names):
            file = os.path.join(folder, name)
            if name.lower().endswith(".onnx") and os.path.isfile(file):  # a pipe would never end
                yield file, path
    yield from ((error.filename, path) for error in unreadable)  # as files of the table, which says why


def _artifact_of(file: str, start: str, out: str) -> str:
    return os.path.join(out, os.path.splitext(os.path.relpath(file, start or "."))[0] + ".npz")


def _check_artifacts(tasks: Sequence[Task], out: str, force: bool) -> None:
    """Fail before the work where an artifact cannot be written, or would replace what is none or another one."""
    check_folder(out)
    owners: dict[str, str] = {}
    for task in tasks:
        if task.out in owners:
            raise OutputRefused(
                f"{owners[task.out]} and {task.path} would both be written to {task.out}; expected files of different "
                "names, or a folder that holds both"
            )
        owners[task.out] = task.path
        if os.path.isdir(os.path.dirname(task.out)):
            check_output(task.out, "artifact", force=force, sources=[other.path for other in tasks])


def import_many(tasks: Sequence[Task], allowed: RunLimits, test_vectors: int, limits: dict[str, Any]) -> dict[str, Any]:
    """Import each file; what came of it as plain data. limits: of the reader, as `import_onnx` takes them.

    Every file has the limits on bytes, memory and time for itself; one that breaks them is refused, and the next
    follows.
    """
    entries = []
    with Progress("import", unit="files") as progress:
        for done, task in enumerate(tasks, 1):
            entries.append(_imported(task, allowed, test_vectors, limits))
            progress(done, len(tasks))
    counts = Counter(entry["result"] for entry in entries)
    return {
        "ok": counts[READ] == len(entries),
        "read": counts[READ],
        "refused": counts[REFUSED],
        "differing": counts[DIFFERS],
        "files": entries,
    }


def _imported(task: Task, allowed: RunLimits, test_vectors: int, limits: dict[str, Any]) -> dict[str, Any]:
    """One file: read and agreed, or why not."""
    try:
        found = checked(import_onnx(task.path, **limits), task.path, allowed)
        doubts = found.doubts()
        if found.ok and task.out:
            refuse_inputs(task.out, found.source.external_files)
            make_folder(os.path.dirname(task.out))
            found.save(task.out, test_vectors)
    except _OF_ONE_FILE as error:
        reason = explain(error)[0].removeprefix(f"{task.path}: ")
        return {"path": task.path, "result": REFUSED, "reason": reason, "network": None, "warnings": []}
    facts = import_facts(found.source, found.reports, task.out if found.ok and task.out else None)
    result = READ if found.ok else DIFFERS
    network, why = network_text(found.model), None if found.ok else _difference(found)
    return {"path": task.path, "result": result, "reason": why, "network": network, **facts, "warnings": doubts}


def _difference(found: Checked) -> str:
    differing = sum(report.differing for report in found.reports.values())
    return f"{differing:,} outputs differ from onnxruntime's on random rows"


def many_table(facts: dict[str, Any], out: str | None, width: int | None = None) -> str:
    """A line for each file, and how many were read, refused and written.

    width: as in `reports`; where it is short, a reason begins with the operator in place of the whole node.
    """
    rows = [{"file": entry["path"], "result": entry["result"], "what": _what(entry, width)} for entry in facts["files"]]
    table = fit_table(rows, width, {"file": "file", "result": "result", "what": "network, or why not"})
    hint = "" if width is None or not facts["refused"] else ", reasons in full with --wide"
    return f"{table}\n\n{_summary(facts, out, hint)}"


def _what(entry: dict[str, Any], width: int | None) -> str:
    reason = entry["reason"]
    if reason is None:
        return str(entry["network"])
    return reason if width is None else _NODE.sub(r"\1: ", reason, count=1)


def _summary(facts: dict[str, Any], out: str | None, hint: str) -> str:
    counts = [f"{facts['read']:,} read", f"{facts['refused']:,} refused"]
    counts += [f"{facts['differing']:,} DIFFER"] if facts["differing"] else []
    lines = [f"{len(facts['files']):,} files: {', '.join(counts)}{hint}"]
    doubtful = sum(bool(entry["warnings"]) for entry in facts["files"])
    lines += [f"{doubtful:,} with warnings, which --json lists"] if doubtful else []
    written = (
        f"wrote {facts['read']:,} artifacts to {printable(out)}" if out and facts["read"] else "nothing was written"
    )
    return "\n".join([*lines, written])


def require_for_many(output: str | None, spec: str | None, out: str | None) -> None:
    """Raise UsageError for options that are of one file."""
    for option, value in (("--output", output), ("--data", spec)):
        if value is not None:
            raise click.UsageError(f"{option} is for one file, and several are to be imported; leave it out")
    if out is not None and out.endswith(".npz") and not Path(out).is_dir():
        raise click.UsageError(f"--out is {out!r}, expected the name of a folder for several files")
