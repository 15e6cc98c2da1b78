"""Commands that are stopped (SIGKILL, SIGINT) at random moments, for a test of a few moments and a campaign of many."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from edge_runtime.console.entry import INTERRUPTED
from edge_runtime.files.atomic import is_temporary

FIRST = 0.02  # seconds: Python itself is not there before
SAVE_FOREVER = """
import itertools, sys
from edge_runtime import load, save
models = [load(path) for path in sys.argv[1:3]]
print("ready", flush=True)
for model in itertools.cycle(models):
    save(model, sys.argv[3])
"""


def smallnet(*arguments: object) -> list[str]:
    """A command line of this package, without installing it."""
    return [sys.executable, "-m", "export", *map(str, arguments)]


def run(command: list[str], folder: Path) -> None:
    """Run a command to its end, which must be a good one."""
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        raise AssertionError(f"{command}: {result.stderr}")


def kill_after(command: list[str], folder: Path, seconds: float, *, ready: bool = False) -> bool:
    """Start a command and kill it after so long, counted from its first line where `ready`. Whether it was alive."""
    out = subprocess.PIPE if ready else subprocess.DEVNULL
    with subprocess.Popen(command, cwd=folder, stdout=out, stderr=subprocess.DEVNULL) as process:
        if process.stdout is not None:
            process.stdout.readline()
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
    return process.returncode == -signal.SIGKILL


def kill_while_writing(command: list[str], folder: Path, seconds: float) -> bool:
    """Kill a command as soon as a temporary file of its own is seen in `folder`, at the earliest after so long."""
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        started, name = time.monotonic(), f"{process.pid}-"
        while process.poll() is None:
            is_writing = any(is_temporary(found) and name in found for found in os.listdir(folder))
            if is_writing and time.monotonic() - started >= seconds:
                process.send_signal(signal.SIGKILL)
                break
    return process.returncode == -signal.SIGKILL


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder but those that a killed process left."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not is_temporary(path.name)}


def litter(folder: Path) -> list[str]:
    """The names that killed processes left."""
    return sorted(name for name in os.listdir(folder) if is_temporary(name))


def grow_old(folder: Path) -> None:
    """Let what killed processes left be two days old."""
    for name in litter(folder):
        os.utime(folder / name, times=(time.time() - 2 * 86_400,) * 2)


def check_whole(folder: Path, before: dict[str, bytes], after: dict[str, bytes]) -> None:
    """Each file is the old one or the new one, to the byte; none is missing, none has come."""
    found = contents(folder)
    assert found.keys() == before.keys(), sorted(found.keys() ^ before.keys())
    for name, content in found.items():
        assert content in (before[name], after[name]), f"{name} is torn"


def campaign_of_saves(folder: Path, kills: int, seed: int, say: Callable[[str], None] = lambda text: None) -> int:
    """`edge_runtime.save` over an existing artifact, again and again. Returns how many were killed alive."""
    work = folder / "saves"
    work.mkdir()
    versions = []
    for number in range(2):
        run(smallnet("train", "--epochs", 1, "--seed", number, "--out", folder / f"{number}.npz"), folder)
        versions.append((folder / f"{number}.npz").read_bytes())
    shutil.copy(folder / "0.npz", work / "m.npz")
    command = [sys.executable, "-c", SAVE_FOREVER, str(folder / "0.npz"), str(folder / "1.npz"), str(work / "m.npz")]
    draw, killed = random.Random(seed), 0
    for number in range(kills):
        killed += kill_after(command, work, 0.02 * draw.random(), ready=True)
        check_whole(work, {"m.npz": versions[0]}, {"m.npz": versions[1]})
        say(f"saves: {number + 1} of {kills}")
    grow_old(work)
    run([sys.executable, "-c", SAVE_FOREVER.replace("itertools.cycle(models)", "models"), *command[3:]], work)
    assert contents(work) == {"m.npz": versions[1]}
    assert not litter(work)
    return killed


def campaign_of_exports(folder: Path, kills: int, seed: int, say: Callable[[str], None] = lambda text: None) -> int:
    """`smallnet export` over the files of another model, half of the times as soon as it writes."""
    results = []
    for number in range(2):
        run(smallnet("train", "--epochs", 1, "--hidden", 8, "--seed", number, "--out", folder / "m.npz"), folder)
        started = time.monotonic()
        run(_export(folder), folder)
        seconds = time.monotonic() - started
        results.append(contents(folder / "out"))
        if number == 0:
            shutil.copytree(folder / "out", folder / "old")
    draw, killed, number = random.Random(seed), 0, 0
    while killed < kills and number < 5 * kills:  # some have ended before their moment
        number += 1
        shutil.rmtree(folder / "out")
        shutil.copytree(folder / "old", folder / "out")
        if number % 2:
            killed += kill_after(_export(folder), folder, FIRST + draw.random() * seconds)
        else:
            killed += kill_while_writing(_export(folder), folder / "out", draw.random() * seconds)
        check_whole(folder / "out", *results)
        say(f"exports: {killed} of {kills}")
    grow_old(folder / "out")
    run(_export(folder), folder)
    assert contents(folder / "out") == results[1]
    assert not litter(folder / "out")
    return killed


def _export(folder: Path) -> list[str]:
    more = ["--test-vectors", 4, "--method", "minmax", "--precision", "all"]
    return smallnet("export", folder / "m.npz", "--calibrate", "digits", "--out", folder / "out", *more)


def campaign_of_trainings(
    folder: Path, kills: int, seed: int, say: Callable[[str], None] = lambda text: None, epochs: int = 120
) -> int:
    """`smallnet train`, killed several times a run and resumed: the final file's bytes are those of an unkilled run."""
    settings = ["--epochs", epochs, "--patience", epochs, "--dropout", 0.2, "--hidden", 16, "--seed", seed]
    whole = folder / "whole"
    whole.mkdir()
    started = time.monotonic()
    run(smallnet("train", *settings, "--out", "m.npz"), whole)
    seconds = time.monotonic() - started
    expected = (whole / "m.npz").read_bytes()
    draw, killed, number = random.Random(seed), 0, 0
    while killed < kills:
        work = folder / f"run{number}"
        work.mkdir()
        command = smallnet("train", *settings, "--out", "m.npz", "--checkpoint", "c")
        for _ in range(min(6, kills - killed)):
            resume = ["--resume", "c"] if (work / "c").exists() else []
            is_killed = kill_after([*command, *resume], work, FIRST + draw.random() * seconds / 2)
            killed += is_killed
            say(f"trainings: {killed} of {kills}, run {number + 1}")
        grow_old(work)
        run([*command, *(["--resume", "c"] if (work / "c").exists() else [])], work)
        assert (work / "m.npz").read_bytes() == expected, f"run {number} differs"
        assert sorted(path.name for path in work.iterdir()) == ["c", "m.npz"]
        number += 1
    return killed


def campaign_of_interrupts(folder: Path, kills: int, seed: int, say: Callable[[str], None] = lambda text: None) -> int:
    """Ctrl-C during `smallnet export`, from its imports to its end: status 130, one line, whole files, no litter."""
    run(smallnet("train", "--epochs", 1, "--hidden", 8, "--out", folder / "m.npz"), folder)
    started = time.monotonic()
    run(_export(folder), folder)
    seconds, expected = time.monotonic() - started, contents(folder / "out")
    draw, interrupted = random.Random(seed), 0
    for number in range(kills):
        delay = draw.random() * seconds
        status, errors = interrupt_after(_export(folder), folder, delay)
        said = errors.strip().splitlines()
        assert status in (0, INTERRUPTED), (delay, status, errors)
        assert "Traceback" not in errors, (delay, errors)
        assert "Error" not in errors, (delay, errors)
        if status:
            assert said[-1] == "error: stopped by Ctrl-C", (delay, errors)
            interrupted += 1
        assert contents(folder / "out") == expected
        assert not litter(folder / "out")
        say(f"interrupts: {number + 1} of {kills}")
    return interrupted


def interrupt_after(command: list[str], folder: Path, seconds: float) -> tuple[int, str]:
    """Exit status and standard error of a command that gets SIGINT so long after the first lines of `entry.start`.

    Before them Python itself answers, with a traceback. The handler is set again because a test suite that runs in the
    background hands on an ignored SIGINT.
    """
    module, arguments = command[2], command[3:]
    code = (
        "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "import edge_runtime.console.entry as entry; repair = entry.repair_streams; "
        "entry.repair_streams = lambda: (print(flush=True), repair()); "
        f"sys.argv = ['smallnet', *{arguments!r}]; runpy.run_module({module!r}, run_name='__main__')"
    )
    pipe = subprocess.PIPE  # standard input stays open: a command that reads it waits
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


CAMPAIGNS: dict[str, Callable[..., int]] = {
    "saves": campaign_of_saves,
    "exports": campaign_of_exports,
    "trainings": campaign_of_trainings,
    "interrupts": campaign_of_interrupts,
}
