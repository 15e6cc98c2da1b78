import os
import threading
import time

import pytest

from edge_runtime import Engine
from edge_runtime.engine import forks
from tests.networks import random_model, random_rows

pytestmark = pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="needs os.register_at_fork")


class Locked:
    """Stands for an engine."""

    def __init__(self):
        self.lock = threading.Lock()


def test_a_fork_waits_for_a_run_and_gives_its_lock_back(monkeypatch):
    """While another thread holds an engine's lock the hook before a fork waits; the parent goes on as before."""
    monkeypatch.setattr(forks, "PATIENCE_S", 60)  # however busy the machine is
    engine = Locked()
    forks.register(engine)
    done = []
    engine.lock.acquire()
    thread = threading.Thread(target=lambda: (time.sleep(0.05), done.append(True), engine.lock.release()))
    thread.start()
    forks._before()
    assert done
    assert engine.lock.locked()
    forks._in_parent()
    assert not engine.lock.locked()
    thread.join()


def test_a_fork_in_the_middle_of_its_own_run_does_not_hang(monkeypatch):
    """A signal handler may fork while its thread runs an engine: patience ends, and the lock stays the run's."""
    monkeypatch.setattr(forks, "PATIENCE_S", 0.01)
    engine = Locked()
    forks.register(engine)
    with engine.lock:
        forks._before()
        forks._in_parent()
        assert engine.lock.locked()


def test_the_child_has_new_locks():
    """Whatever thread held one is not there any more."""
    engine = Locked()
    forks.register(engine)
    held = engine.lock
    held.acquire()
    child = os.fork()
    if child == 0:
        os._exit(0 if engine.lock is not held and not engine.lock.locked() else 1)
    assert os.waitpid(child, 0)[1] == 0
    held.release()


def test_a_thread_that_runs_without_a_pause_lets_a_fork_in(monkeypatch):
    """Locks are not fair: without the gate a busy thread would take its engine's lock again before the fork has it."""
    monkeypatch.setattr(forks, "PATIENCE_S", 60.0)
    engine = Engine(random_model([300, 300, 3], ["relu", "linear"]))
    rows, stop = random_rows(256, 300), threading.Event()

    def run():
        while not stop.is_set():
            engine.run(rows)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        forks._before()
        assert engine.lock in forks._held
        assert forks.is_near
        forks._in_parent()
        assert not forks.is_near
    stop.set()
    for thread in threads:
        thread.join()


CALLS = {
    "run, at once": lambda engine: engine.run(random_rows(1, 4)[0]),
    "run, block by block": lambda engine: engine.run(random_rows(3, 4).astype("f8")),
    "logits": lambda engine: engine.logits(random_rows(2, 4)),
    "predict": lambda engine: engine.predict(random_rows(2, 4)),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_every_way_to_run_lets_a_fork_pass_that_is_near(monkeypatch, call):
    """Before it takes the engine's lock, and only while one is near: on the quickest path too."""
    engine = Engine(random_model([4, 3], ["linear"]))
    passed = []
    monkeypatch.setattr(forks, "let_pass", lambda: passed.append(engine.lock.locked()))
    call(engine)
    assert passed == []
    monkeypatch.setattr(forks, "is_near", True)
    call(engine)
    assert passed
    assert not any(passed)
