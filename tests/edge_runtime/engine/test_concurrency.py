"""Engines in threads and processes: one may be shared, and separate ones give identical bits."""

import hashlib
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from edge_runtime import Engine, load, save
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows

THREADS, RUNS = 8, 10_000
PRECISIONS = ["float32", "float16", "int8"]


def network(precision):
    return quantize(random_model([64, 32, 10], ["relu", "softmax"]), random_rows(200, 64), precision)


def in_threads(work) -> None:
    """`work(index)` in eight threads at once."""
    start = threading.Barrier(THREADS)

    def begin(index):
        start.wait()
        work(index)

    threads = [threading.Thread(target=begin, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_eight_threads_on_one_engine_get_their_own_answers(precision):
    """Runs take turns: in 10,000 runs of each thread, one row or three, no thread sees a bit of another's rows."""
    engine, rows = Engine(network(precision)), random_rows(8 * 3, 64).reshape(8, 3, 64)
    single = [engine.run(part[0]).tobytes() for part in rows]
    several = [engine.run(part).tobytes() for part in rows]
    right = [0] * THREADS

    def work(index):
        part, row = rows[index], rows[index][0]
        for run in range(RUNS):
            if run % 16:
                right[index] += engine.run(row).tobytes() == single[index]
            else:
                right[index] += engine.run(part).tobytes() == several[index]

    in_threads(work)
    assert right == [RUNS] * THREADS


@pytest.mark.parametrize("precision", PRECISIONS)
def test_separate_engines_in_threads_give_identical_bits(precision):
    """They share the model, which is read-only, and nothing else."""
    model, rows = network(precision), random_rows(300, 64)
    expected = Engine(model).run(rows).tobytes()
    right = [0] * THREADS

    def work(index):
        engine = Engine(model)
        right[index] = sum(engine.run(rows).tobytes() == expected for _ in range(20))

    in_threads(work)
    assert right == [20] * THREADS


PRINT_DIGEST = """
import hashlib, sys
import numpy as np
from edge_runtime import Engine, load
rows = np.load(sys.argv[2])
engine = Engine(load(sys.argv[1], mmap=sys.argv[3] == "mmap"))
print(hashlib.sha256(engine.run(rows).tobytes() + engine.run(rows[0]).tobytes()).hexdigest())
"""


@pytest.mark.parametrize("precision", PRECISIONS)
def test_separate_processes_give_identical_bits(tmp_path, precision):
    """Four at a time on one file, two of them mapping it: all give what this process gives."""
    path, rows = tmp_path / "m.npz", random_rows(300, 64)
    save(network(precision), path)
    np.save(tmp_path / "x.npy", rows)
    engine = Engine(load(path))
    expected = hashlib.sha256(engine.run(rows).tobytes() + engine.run(rows[0]).tobytes()).hexdigest()
    command = [sys.executable, "-c", PRINT_DIGEST, path, tmp_path / "x.npy"]
    processes = [subprocess.Popen([*command, mode], stdout=subprocess.PIPE, text=True) for mode in ("read", "mmap") * 2]
    assert [process.communicate()[0].strip() for process in processes] == [expected] * 4


FORKED_WORKERS = """
import multiprocessing, sys
import numpy as np
from edge_runtime import Engine, load
engine = Engine(load(sys.argv[1]))
rows = np.load(sys.argv[2])

def work(index):
    return engine.run(rows[index]).tobytes()

expected = [work(index) for index in range(len(rows))]
with multiprocessing.get_context("fork").Pool(4) as pool:
    assert pool.map(work, range(len(rows))) == expected
print("ok")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_forked_workers_use_the_engine_of_their_parent(tmp_path, precision):
    """Each worker has its own copy of the arena: the bits are the parent's."""
    save(network(precision), tmp_path / "m.npz")
    np.save(tmp_path / "x.npy", random_rows(200, 64))
    command = [sys.executable, "-W", "ignore", "-c", FORKED_WORKERS, tmp_path / "m.npz", tmp_path / "x.npy"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stdout == "ok\n", result.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_child_of_a_fork_in_the_middle_of_a_run_can_run_too():
    """The lock that another thread held at the fork is not held in the child."""
    code = """
import os, sys, threading
import numpy as np
from edge_runtime import Activation, Dense, Engine, Model
layer = Dense("a", np.ones((300, 300), np.float32), np.zeros(300, np.float32), Activation.of("relu"))
engine = Engine(Model((layer,)))
rows = np.ones((500, 300), np.float32)
thread = threading.Thread(target=lambda: [engine.run(rows) for _ in range(200)], daemon=True)
thread.start()
for _ in range(10):
    child = os.fork()
    if child == 0:
        engine.run(rows[0])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
print("ok")
"""
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout == "ok\n", result.stderr
