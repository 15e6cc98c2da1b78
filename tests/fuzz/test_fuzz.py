"""A short campaign over every reader, and proof that a campaign would see what it looks for."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import types
import warnings
from pathlib import Path

import numpy as np
import pytest

import tests.fuzz.watch as watch_module
from edge_runtime import ArtifactError
from tests.fuzz.campaign import corpus_of
from tests.fuzz.mutate_bytes import damaged
from tests.fuzz.readers import READERS, Reader
from tests.fuzz.watch import Watch, memory_bound

pytestmark = pytest.mark.skipif(os.name != "posix", reason="processor time and memory are read as POSIX gives them")
GUIDED_RUNS = 20_000  # over all readers
PLAIN_RUNS = 400  # for each reader
CLOCK = types.SimpleNamespace(now=0.0, thread_time=lambda: CLOCK.now)


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch):
    """Campaigns that are started by hand judge time; the suite does not, so that a busy machine fails nothing."""
    monkeypatch.setattr(watch_module, "time", CLOCK)


@pytest.mark.parametrize("name", READERS)
def test_fuzzing_starts_from_inputs_that_are_taken(tmp_path, name):
    """Each seed is read, so that damage starts from what gets furthest."""
    assert all(READERS[name].check(content, tmp_path) for content in READERS[name].seeds())


@pytest.mark.parametrize("name", READERS)
def test_the_corpus_holds_no_finding(tmp_path, name):
    """Inputs that reached new code in the long campaign, and those of findings that were mended."""
    watch = Watch(READERS[name], tmp_path)
    paths = corpus_of(name)
    assert paths
    assert {path.name: found for path in paths if (found := watch(path.read_bytes()))} == {}


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_values_or_the_documented_error(tmp_path, name):
    """The format's own damage to valid files, from a fixed seed, with checksums made anew: taken or refused."""
    reader, rng = READERS[name], random.Random(7)
    watch, seeds = Watch(reader, tmp_path), reader.seeds()
    found = [watch(reader.mutate(rng.choice(seeds), rng)) for _ in range(PLAIN_RUNS)]
    assert [finding for finding in found if finding] == []
    assert PLAIN_RUNS * 0.02 < watch.taken < PLAIN_RUNS * 0.9  # the damage is neither too coarse nor none


def test_a_guided_campaign_finds_nothing(tmp_path):
    """20,000 inputs that coverage chooses, from a fixed seed; every reader is reached, none has a finding."""
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.fuzz", "--json", "--seed", "3", "--findings", str(tmp_path / "findings")]
    runs = str(-(-GUIDED_RUNS // len(READERS)))
    root = Path(__file__).parents[2]
    done = subprocess.run([*command, "--runs", runs], cwd=root, capture_output=True, text=True, timeout=600)
    facts = json.loads(done.stdout)
    causes = [cause for tally in facts["readers"] for cause in tally["findings"]]
    assert [cause for cause in causes if not cause.startswith("slow")] == []  # the suite judges no time
    assert done.returncode == 0 or causes
    assert facts["inputs"] >= GUIDED_RUNS
    assert all(tally["edges"] > 100 and tally["taken"] > 0 for tally in facts["readers"])


def _reader(check) -> Reader:
    return Reader("planted", check, lambda: [], damaged)


def _raise(error: Exception) -> bool:
    raise error


def _waste(content: bytes, folder: Path) -> bool:
    np.ones(2 * memory_bound(len(content)), np.uint8)
    return True


def _dawdle(content: bytes, folder: Path) -> bool:
    CLOCK.now += 10.5  # under tracemalloc five times as much is allowed
    return True


def _swallow(content: bytes, folder: Path) -> bool:
    try:
        sys.audit("subprocess.Popen", "sh", [], None, None)
    except Exception:
        return False
    return True


PLANTED = {
    "an undocumented error": (lambda content, folder: _raise(ArtifactError("no")), "ArtifactError at "),
    "a warning": (lambda content, folder: warnings.warn("careful", stacklevel=1), "UserWarning at "),
    "another file": (lambda content, folder: bool(Path("/proc/self/status").read_bytes()), "touches open"),
    "a process": (_swallow, "touches subprocess.Popen"),
    "code": (lambda content, folder: bool(eval("1 + 1")), "touches compile"),
    "memory": (_waste, "memory: "),
    "time": (_dawdle, "slow: "),
}


@pytest.mark.parametrize("name", PLANTED)
def test_the_watch_sees(tmp_path, name):
    """Each kind of finding, planted in a reader, is one; a reader that does nothing wrong has none."""
    check, expected = PLANTED[name]
    assert str(Watch(_reader(check), tmp_path, every=1)(b"x")).startswith(expected)
    assert Watch(_reader(lambda content, folder: True), tmp_path)(b"x") is None
