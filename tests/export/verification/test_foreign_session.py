"""Somebody's file runs in a child process, within limits that hold, and says what breaks them."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_runtime import ArtifactError
from export import verify
from export.verification import foreign_session
from export.verification.foreign_session import ForeignSession, RunLimits
from export.verification.onnx_session import make_session
from tests.command import run_command
from tests.networks import random_model

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits address space")


def proto(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], outputs: tuple[str, ...] = ("y",)) -> bytes:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


PLAIN = proto([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": np.eye(4, 2, dtype=np.float32)})
X = np.arange(12, dtype=np.float32).reshape(3, 4)


def bomb(count: int) -> bytes:
    """A file of some hundred bytes that fills `count` floats, and needs them."""
    nodes = [
        helper.make_node("ConstantOfShape", ["count"], ["ones"]),
        helper.make_node("ReduceSum", ["ones"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    return proto(nodes, {"count": np.array([count])})


def test_a_session_in_the_child_gives_what_one_in_this_process_gives() -> None:
    """The same bits, at each level, for one output and for all; sessions do not get in each other's way."""
    here = make_session(PLAIN)
    with ForeignSession(PLAIN, "a.onnx", "default") as first, ForeignSession(PLAIN, "b.onnx", "disabled") as second:
        assert first.outputs == second.outputs == ["y"]
        for session in (first, second, first):
            assert session.run(None, {"x": X})[0].tobytes() == here.run(None, {"x": X})[0].tobytes()
            assert session.run(["y"], {"x": X})[0].dtype == np.float32


def test_a_classifiers_labels_and_dictionaries_arrive() -> None:
    """Texts come as an array of texts, probabilities by class as one dictionary a row, floats to the last bit."""
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression

    x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    fitted = LogisticRegression().fit(x, np.where(x[:, 0] > 0, "up", "down"))
    content = skl2onnx.to_onnx(fitted, x[:1]).SerializeToString()
    expected = make_session(content)
    name = expected.get_inputs()[0].name
    with ForeignSession(content, "c.onnx", "default") as session:
        labels, rows = session.run(None, {name: x})
    assert labels.tolist() == list(expected.run(None, {name: x})[0])
    assert rows == [dict(row) for row in expected.run(None, {name: x})[1]]


@on_linux
def test_memory_is_limited_and_the_file_is_named() -> None:
    """A file of 200 bytes that fills 1.6 GB is refused in one line; with a higher limit it runs; others run on."""
    content = bomb(400_000_000)
    assert len(content) < 300
    for limits in (RunLimits(max_memory=1 << 28), RunLimits()):
        with pytest.raises(ArtifactError, match=r"^b\.onnx: onnxruntime needs more than [0-9,]+ bytes .*max_memory"):
            ForeignSession(content, "b.onnx", "default", limits=limits).run(None, {"x": X})
    small = bomb(1_000_000)
    with ForeignSession(small, "c.onnx", "disabled", limits=RunLimits(max_memory=1 << 28)) as session:
        assert session.run(None, {"x": X})[0].tolist() == X.tolist()


def test_time_is_limited_and_the_next_file_runs() -> None:
    """A file that takes too long is ended with its child; a session that was open is opened again in the next one."""
    with ForeignSession(PLAIN, "a.onnx", "default") as session:
        with pytest.raises(ArtifactError, match=r"^b\.onnx: onnxruntime takes longer than 0\.001 s .*max_seconds"):
            ForeignSession(bomb(30_000_000), "b.onnx", "disabled", limits=RunLimits(max_seconds=0.001)).run(
                None, {"x": X}
            )
        assert session.run(None, {"x": X})[0].tolist() == X[:, :2].tolist()


def test_limits_grow_with_the_file() -> None:
    """1 GiB and 8 bytes for each byte of the file, unless something else is said."""
    assert RunLimits().memory_for(1000) == (1 << 30) + 8000
    assert RunLimits(max_memory=5).memory_for(1000) == 5
    assert ForeignSession(PLAIN, "a.onnx", "default", size=1 << 20).memory_bytes == (1 << 30) + (8 << 20)


def test_refusals_are_one_line_with_the_reason() -> None:
    """What onnxruntime says is on one line, without colours, and its own log stays away."""
    with pytest.raises(ArtifactError) as caught:
        ForeignSession(b"\xff\xff", "d.onnx", "default")
    assert str(caught.value).startswith("d.onnx: onnxruntime ")
    assert "\n" not in str(caught.value)
    with (
        ForeignSession(PLAIN, "e.onnx", "default") as session,
        pytest.raises(ArtifactError, match=r"^e\.onnx: onnxruntime cannot run the model on 3 rows: .*Expected: 4"),
    ):
        session.run(None, {"x": X[:, :3]})


def test_a_long_name_in_onnxruntimes_words_is_shortened() -> None:
    """It says which node failed before it says why."""
    name = "n" * 3000
    content = proto([helper.make_node("Gather", ["x", "i"], [name], name, axis=1)], {"i": np.array([7])}, (name,))
    with (
        ForeignSession(content, "n.onnx", "disabled") as session,
        pytest.raises(ArtifactError, match=r"onnxruntime cannot run .*nnn\.\.nnn.*indices element out of data bounds"),
    ):
        session.run(None, {"x": X})


def test_a_child_that_is_gone_is_replaced() -> None:
    """Somebody ends the child between two runs: the session is opened anew."""
    with ForeignSession(PLAIN, "a.onnx", "default") as session:
        child = foreign_session._WORKER.process
        assert child is not None
        child.kill()
        child.wait()
        assert session.run(None, {"x": X})[0].shape == (3, 2)


def test_threads_take_turns() -> None:
    """Answers belong to the thread that asked."""
    wrong = []

    def ask(value: float) -> None:
        with ForeignSession(PLAIN, "a.onnx", "default") as session:
            for _ in range(20):
                rows = np.full((2, 4), value, np.float32)
                wrong.extend(v for v in session.run(None, {"x": rows})[0].ravel() if v != value)

    threads = [threading.Thread(target=ask, args=(value,)) for value in (1.0, 2.0, 3.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_what_breaks_its_limit_in_one_thread_is_not_held_against_another() -> None:
    """Children end again and again by a limit on time: a sound file is opened in the next one, and answers."""
    is_over, refused = threading.Event(), []

    def break_limits() -> None:
        while not is_over.is_set():
            try:  # a quick answer may come within it
                ForeignSession(PLAIN, "b.onnx", "default", limits=RunLimits(max_seconds=0.001)).run(None, {"x": X})
            except ArtifactError as error:
                refused.extend([] if str(error).startswith("b.onnx: onnxruntime takes longer") else [str(error)])

    other = threading.Thread(target=break_limits)
    other.start()
    try:
        for _ in range(10):
            with ForeignSession(PLAIN, "a.onnx", "default") as session:
                for _ in range(3):
                    if session.run(None, {"x": X})[0].tolist() != X[:, :2].tolist():
                        refused.append("another answer")
    except ArtifactError as error:
        refused.append(str(error))
    finally:
        is_over.set()
        other.join()
    assert not refused


def test_a_child_that_a_file_of_another_ended_is_not_the_fault_of_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends in the middle of an answer: asked once more in a child of its own, and blamed if that ends too."""
    exchange, ends = foreign_session._exchange, iter(())

    def failing(process, facts, arrays):
        if facts["do"] == "run" and next(ends, False):
            process.kill()
            return None
        return exchange(process, facts, arrays)

    monkeypatch.setattr(foreign_session, "_exchange", failing)
    with ForeignSession(PLAIN, "a.onnx", "default") as session, ForeignSession(PLAIN, "b.onnx", "default"):
        ends = iter([True])
        assert session.run(None, {"x": X})[0].tolist() == X[:, :2].tolist()
    with ForeignSession(PLAIN, "a.onnx", "default") as session, ForeignSession(PLAIN, "b.onnx", "default"):
        ends = iter([True, True])
        with pytest.raises(ArtifactError, match=r"^a\.onnx: .*ended with status"):
            session.run(None, {"x": X})
        assert session.run(None, {"x": X})[0].tolist() == X[:, :2].tolist()


@on_linux
def test_each_session_has_its_own_limit_on_memory() -> None:
    """One that may take little does not lower what another may; what one has taken is not counted for another."""
    with ForeignSession(bomb(60_000_000), "a.onnx", "disabled") as session:
        with pytest.raises(ArtifactError, match=r"^b\.onnx: onnxruntime needs more than 1,000,000 bytes"):
            ForeignSession(bomb(60_000_000), "b.onnx", "disabled", limits=RunLimits(max_memory=1_000_000)).run(
                None, {"x": X}
            )
        assert session.run(None, {"x": X})[0].shape == (3, 4)
        with ForeignSession(PLAIN, "c.onnx", "default", limits=RunLimits(max_memory=1 << 27)) as third:
            assert session.run(None, {"x": X})[0].shape == (3, 4)
            assert third.run(None, {"x": X})[0].shape == (3, 2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_while_another_thread_waits_for_an_answer_does_not_wait_for_it() -> None:
    """The stream is locked by a thread that the fork has not: it is let go of and not closed."""
    import signal

    with ForeignSession(PLAIN, "a.onnx", "default") as session:
        child = foreign_session._WORKER.process
        assert child is not None
        assert child.stdout is not None
        reader = threading.Thread(target=child.stdout.read)  # to the end, which is far
        reader.start()
        pid = os.fork()
        if pid == 0:
            signal.alarm(20)
            right = session.run(None, {"x": X + 1})[0].tolist() == (X + 1)[:, :2].tolist()
            foreign_session._WORKER.stop()
            os._exit(0 if right else 1)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        child.kill()
        reader.join()
        assert status == 0
        assert session.run(None, {"x": X})[0].tolist() == X[:, :2].tolist()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_fork_gets_a_child_of_its_own() -> None:
    """Parent and child of a fork do not read each other's answers."""
    with ForeignSession(PLAIN, "a.onnx", "default") as session:
        pid = os.fork()
        if pid == 0:
            right = session.run(None, {"x": X + 1})[0].tolist() == (X + 1)[:, :2].tolist()
            foreign_session._WORKER.stop()
            os._exit(0 if right else 1)
        assert session.run(None, {"x": X})[0].tolist() == X[:, :2].tolist()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_the_child_ends_with_this_process() -> None:
    """Nothing is left running: the child reads the end of its pipe."""
    import subprocess

    code = (
        "import sys; from export.verification.foreign_session import ForeignSession, _WORKER;"
        "ForeignSession(bytes.fromhex(sys.argv[1]), 'a', 'default'); print(_WORKER.process.pid, flush=True);"
        "import os; os._exit(0)"  # no handler of ours runs
    )
    found = subprocess.run([sys.executable, "-c", code, PLAIN.hex()], capture_output=True, text=True, check=True)
    for _ in range(100):
        if not _is_running(int(found.stdout)):
            return
        time.sleep(0.1)
    raise AssertionError("the child runs on")


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    except (OSError, FileNotFoundError):
        return False


@on_linux
def test_verify_and_import_keep_the_limits(tmp_path: Path) -> None:
    """Commands and functions pass their limits on, and say them as they are typed."""
    path = tmp_path / "bomb.onnx"
    path.write_bytes(bomb(400_000_000))
    model = random_model([4, 4], ["linear"])
    with pytest.raises(ArtifactError, match=r"needs|fold|limit"):
        verify(model, path, X, run_limits=RunLimits(max_memory=1 << 28))
    plain, large = tmp_path / "plain.onnx", tmp_path / "large.onnx"
    plain.write_bytes(PLAIN)
    wide = np.ones((4, 2_000_000), np.float32)
    large.write_bytes(proto([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": wide}))
    out = tmp_path / "plain.npz"
    for path, limit in ((large, "--max-memory=1M"), (plain, "--max-seconds=0.000001")):
        result = run_command("import", path, "--out", out, limit)
        assert result.exit_code == 2
        assert f"raise {limit.partition('=')[0]}" in result.stderr
        assert result.stderr.count("\n") == 1
        assert not out.exists()
    assert run_command("import", plain, "--out", out).exit_code == 0
    assert run_command("verify", out, plain, "--max-seconds", "0.000001").exit_code == 2
    assert run_command("verify", out, plain).exit_code == 0


def test_the_reason_of_a_refusal_is_not_cut_off(tmp_path: Path) -> None:
    """onnxruntime names its own source and signatures first: the version that it wants stands at the end."""
    newer = onnx.load_model_from_string(PLAIN)
    newer.ir_version = 99
    with pytest.raises(ArtifactError, match="Unsupported model IR version: 99, max supported IR version:") as refused:
        ForeignSession(newer.SerializeToString(), tmp_path / "m.onnx", "default")
    assert str(refused.value).count("refuses the model") == 1
