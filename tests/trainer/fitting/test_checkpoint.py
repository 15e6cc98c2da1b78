import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from edge_runtime.artifact import read_members, write_members
from tests.trainer.samples import PLAIN, all_bytes, blobs, small_network
from trainer import CheckpointError, NeuralNetwork, NeuralNetworkModel
from trainer.fitting.checkpoint import check_same_run, data_digest, read_checkpoint, write_checkpoint
from trainer.fitting.interrupts import deferred_interrupt

SETTINGS = PLAIN | {"epochs": 6, "batch_size": 8, "optimizer": "adam", "learning_rate": 0.01, "patience": 50}

# a run with everything that has a state: shuffling, dropout, batch statistics, Adam's moments, early stopping
PROGRAM = """
import sys
import numpy as np
from trainer import NeuralNetwork, PrecisionConfig
rng = np.random.default_rng(0)
x, y = rng.standard_normal((2003, 20)).astype(np.float32), rng.integers(0, 3, 2003)
net = NeuralNetwork([20, 16, 3], ["relu", "softmax"], 1e-3, 0.2, PrecisionConfig(seed=3), batch_norm=True)
path, resume, out = sys.argv[1], sys.argv[2] == "resume", sys.argv[3]
def progress(record):
    print(record.epoch, flush=True)
try:
    history = net.fit(x, y, epochs=40, batch_size=16, optimizer="adam", learning_rate=0.01, schedule="cosine",
                      validation_data=(x[:50], y[:50]), patience=30, standardize="per-feature",
                      checkpoint=path, resume=path if resume else None, on_epoch=progress)
except KeyboardInterrupt as stop:
    sys.exit(f"interrupted: {stop}")
net.save_weights(out)
open(out + ".json", "w").write(history.to_json())
"""


def _start(folder, mode, out):
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(folder / "c.npz"), mode, str(folder / out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(folder, mode, out):
    with _start(folder, mode, out) as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def _result(folder, out):
    return (folder / out).read_bytes(), (folder / f"{out}.json").read_text()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """Weights file and history of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    _finish(folder, "new", "whole.npz")
    return _result(folder, "whole.npz")


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize("delay", [0.0, 0.004, 0.013])
def test_killed_and_resumed_is_byte_identical(tmp_path, uninterrupted, delay):
    """kill -9 at any moment, three times in one run, then resumed: the same weights file and history, to the byte."""
    mode = "new"
    for epochs_before_kill in (1, 3, 2):
        with _start(tmp_path, mode, "end.npz") as process:
            for _ in range(epochs_before_kill):
                process.stdout.readline()
            time.sleep(delay)
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        mode = "resume"
    _finish(tmp_path, "resume", "end.npz")
    assert _result(tmp_path, "end.npz") == uninterrupted
    kept = sorted(name for name in os.listdir(tmp_path) if not name.startswith(".smallnet-"))  # swept after a day
    assert kept == ["c.npz", "end.npz", "end.npz.json"]


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT")
def test_interrupted_and_resumed_is_byte_identical(tmp_path, uninterrupted):
    """Ctrl-C ends after the batch with a checkpoint and says how to go on; the resumed run ends as if undisturbed."""
    with _start(tmp_path, "new", "end.npz") as process:
        process.stdout.readline()
        time.sleep(0.003)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "interrupted: stopped in epoch" in errors
    assert "continue with resume=" in errors
    _finish(tmp_path, "resume", "end.npz")
    assert _result(tmp_path, "end.npz") == uninterrupted


@pytest.mark.parametrize("batch", [1, 7, 12, 13, 60])
def test_stopping_after_any_batch_changes_nothing(tmp_path, batch):
    """Stopped after a batch within, at the end of, or at the start of an epoch: the resumed run is byte-identical."""
    x, y = blobs(rows=100)
    whole = small_network(dropout_rate=0.3)
    history = whole.fit(x, y, **SETTINGS)
    stopped, path = small_network(dropout_rate=0.3), tmp_path / "c.npz"
    backward, count = stopped.chain.backward, [0]

    def interrupt(*arguments):
        count[0] += 1
        if count[0] == batch:
            os.kill(os.getpid(), signal.SIGINT)
        backward(*arguments)

    stopped.chain.backward = interrupt
    with pytest.raises(KeyboardInterrupt, match=r"continue with resume="):
        stopped.fit(x, y, checkpoint=path, **SETTINGS)
    assert read_checkpoint(path)[0]["step"] == batch
    resumed = small_network(dropout_rate=0.3)
    assert resumed.fit(x, y, resume=path, **SETTINGS) == history
    assert all_bytes(resumed) == all_bytes(whole)


def test_a_finished_run_resumes_to_its_result(tmp_path):
    """Resuming a run that ended returns its history and weights at once; more epochs continue it."""
    x, y = blobs()
    path = tmp_path / "c.npz"
    first = small_network()
    history = first.fit(x, y, checkpoint=path, **SETTINGS)
    again = small_network()
    assert again.fit(x, y, resume=path, **SETTINGS) == history
    assert all_bytes(again) == all_bytes(first)
    longer = small_network()
    assert longer.fit(x, y, resume=path, **(SETTINGS | {"epochs": 9})) == small_network().fit(
        x, y, **(SETTINGS | {"epochs": 9})
    )


def test_early_stopping_counters_survive(tmp_path):
    """A run that was about to lose its patience loses it at the same epoch after resuming."""
    x, y = blobs()
    settings = PLAIN | {"epochs": 50, "learning_rate": 1e-6, "patience": 4, "min_delta": 1.0}
    whole = small_network().fit(x, y, **settings)
    path = tmp_path / "c.npz"
    small_network().fit(x, y, checkpoint=path, **(settings | {"epochs": 3}))
    resumed = small_network().fit(x, y, resume=path, **settings)
    assert resumed == whole
    assert resumed.stopped_early


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"batch_size": 9}, "made with batch_size 8, this run has 9"),
        ({"learning_rate": 0.02}, "made with learning_rate 0.01, this run has 0.02"),
        ({"optimizer": "sgd"}, "made with optimizer"),
        ({"shuffle": False}, "made with shuffle True"),
        ({"patience": None}, "made with patience 50, this run has None"),
        ({"label_smoothing": 0.1}, "made with label_smoothing 0.0, this run has 0.1"),
        ({"standardize": "global"}, "made with standardize none, this run has global"),
        ({"class_weight": "balanced"}, "made with class_weight None, this run has balanced"),
        ({"class_weight": [1, 2.5, 1]}, r"made with class_weight None, this run has \{1: 2.5\}"),
    ],
)
def test_another_run_is_refused(tmp_path, change, words):
    """A checkpoint continues only the run that wrote it; the message names the setting that differs."""
    x, y = blobs()
    small_network().fit(x, y, checkpoint=tmp_path / "c.npz", **SETTINGS)
    with pytest.raises(CheckpointError, match=words):
        small_network().fit(x, y, resume=tmp_path / "c.npz", **(SETTINGS | change))


@pytest.mark.parametrize("weights", [{1: 2.5}, [1, 2.5, 1.0], np.array([1, 2.5, 1]), {2: 1, 1: 2.5, 0: 1}])
def test_class_weights_are_compared_by_what_they_weigh(tmp_path, weights):
    """A mapping, a list and an array that say the same are the same run; another number is another."""
    x, y = blobs()
    path = tmp_path / "c.npz"
    whole = small_network()
    whole.fit(x, y, checkpoint=path, class_weight={1: 2.5}, **SETTINGS)
    resumed = small_network()
    resumed.fit(x, y, resume=path, class_weight=weights, **SETTINGS)
    assert all_bytes(resumed) == all_bytes(whole)
    with pytest.raises(CheckpointError, match=r"made with class_weight \{1: 2.5\}, this run has \{1: 2.25\}"):
        small_network().fit(x, y, resume=path, class_weight={1: 2.25}, **SETTINGS)


@pytest.mark.parametrize("name", ["standardize", "class_weight", "label_smoothing"])
def test_a_checkpoint_that_does_not_state_a_setting_is_continued(tmp_path, name):
    """Older files lack it: they go on with the same data, and are refused with other data as ever."""
    x, y = blobs()
    given = SETTINGS | {"standardize": "global", "class_weight": "balanced", "label_smoothing": 0.1}
    whole = small_network()
    whole.fit(x, y, checkpoint=tmp_path / "c", **given)
    facts, arrays = read_checkpoint(tmp_path / "c")
    del facts["settings"][name]
    write_checkpoint(tmp_path / "old", facts, arrays)
    resumed = small_network()
    resumed.fit(x, y, resume=tmp_path / "old", **given)
    assert all_bytes(resumed) == all_bytes(whole)
    given[name] = {"standardize": "none", "class_weight": None, "label_smoothing": 0.0}[name]
    with pytest.raises(CheckpointError, match="made with data"):
        small_network().fit(x, y, resume=tmp_path / "old", **given)


def test_a_run_to_fewer_epochs_is_refused(tmp_path):
    """What the file holds of them cannot be taken back: both numbers are named, and no weight changes."""
    x, y = blobs()
    path = tmp_path / "c"
    small_network().fit(x, y, checkpoint=path, **SETTINGS)
    network = small_network()
    before = all_bytes(network)
    with pytest.raises(CheckpointError, match=r"c: holds 6 epochs, this run is to end after 2; ask for 6 "):
        network.fit(x, y, resume=path, **(SETTINGS | {"epochs": 2}))
    assert all_bytes(network) == before
    facts, arrays = read_checkpoint(path)
    write_checkpoint(path, facts | {"epoch": 2, "offset": 8}, arrays)
    with pytest.raises(CheckpointError, match=r"holds 2 epochs and a part of the next, .* after 2; ask for 3 "):
        network.fit(x, y, resume=path, **(SETTINGS | {"epochs": 2}))


def test_other_names_for_the_same_classes_are_refused(tmp_path):
    """Texts that sort as others did are the same indices, and mean something else."""
    x, y = blobs()
    names = np.array(["a", "b", "c"])
    for labels, stated in ((names[y], r"\['a', 'b', 'c'\]"), (y, "numbered from 0 to 2")):
        small_network().fit(x, labels, checkpoint=tmp_path / "c", epochs=1, **PLAIN)
        with pytest.raises(CheckpointError, match=rf"made with classes {stated}, this run has \['d', 'e', 'f'\]"):
            small_network().fit(x, np.array(["d", "e", "f"])[y], resume=tmp_path / "c", epochs=2, **PLAIN)
        small_network().fit(x, labels, resume=tmp_path / "c", epochs=2, **PLAIN)


def test_other_data_and_networks_are_refused(tmp_path):
    """Other rows, other layers, another regularization: named, before any weight changes."""
    x, y = blobs()
    path = tmp_path / "c.npz"
    small_network().fit(x, y, checkpoint=path, **SETTINGS)
    network = small_network(kind=NeuralNetworkModel)
    before = all_bytes(network)
    with pytest.raises(CheckpointError, match="made with data"):
        network.fit(x + 1, y, resume=path, **SETTINGS)
    assert all_bytes(network) == before
    with pytest.raises(CheckpointError, match=r"made with layers 5-7-3 \(relu, softmax\), this run has 5-8-3"):
        small_network(sizes=(5, 8, 3)).fit(x, y, resume=path, **SETTINGS)
    with pytest.raises(CheckpointError, match="made with l2_lambda"):
        small_network(l2_lambda=0.1).fit(x, y, resume=path, **SETTINGS)


def test_damaged_checkpoints_are_refused(tmp_path):
    """A missing file is an OSError; a flipped byte, a cut file or another file is a CheckpointError."""
    x, y = blobs()
    path = tmp_path / "c.npz"
    small_network().fit(x, y, checkpoint=path, **SETTINGS)
    content = path.read_bytes()
    with pytest.raises(FileNotFoundError):
        small_network().fit(x, y, resume=tmp_path / "none.npz", **SETTINGS)
    for position in range(70, len(content), 997):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        try:
            facts, arrays = read_checkpoint(path)
        except CheckpointError:
            continue
        path.write_bytes(content)  # a byte that nothing reads, such as a date: the content is whole
        expected = read_checkpoint(path)
        assert facts == expected[0]
        assert all((arrays[name] == expected[1][name]).all() for name in expected[1])
    for damaged in (b"", content[:1000], b"PK" + bytes(200)):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match="expected a checkpoint"):
            read_checkpoint(path)
    small_network().save_weights(path)
    with pytest.raises(CheckpointError, match="no checkpoint, it holds format, "):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "forge",
    [
        lambda facts: facts.update(step=10**400),
        lambda facts: facts.update(epoch=-1),
        lambda facts: facts.update(offset=10**6),
        lambda facts: facts.update(history="[" * 100_000),
        lambda facts: facts.update(generator={"bit_generator": "PCG64", "state": {"state": -1, "inc": 10**60}}),
        lambda facts: facts["generator"]["state"].update(state=-1),
        lambda facts: facts["generator"]["state"].update(inc=1 << 128),
        lambda facts: facts["generator"].update(uinteger=0.5),
        lambda facts: facts.update(sums=[None, "x"]),
        lambda facts: facts.pop("stopping"),
    ],
)
def test_forged_counters_are_refused(tmp_path, forge):
    """A checkpoint with the right digest and counters that no run can have is a CheckpointError like a damaged one."""
    x, y = blobs()
    path = tmp_path / "c.npz"
    small_network().fit(x, y, checkpoint=path, **SETTINGS)
    facts, arrays = read_checkpoint(path)
    forge(facts)
    write_checkpoint(path, facts, arrays)
    with pytest.raises(CheckpointError, match=r"counters do not fit together .*; start anew"):
        small_network().fit(x, y, resume=path, **SETTINGS)


def test_a_checkpoint_that_claims_a_terabyte_is_not_read(tmp_path):
    """Its size is compared with that of the run's own arrays before a byte is read; a pipe is not opened."""
    x, y = blobs()
    path = tmp_path / "c.npz"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="over the limit of"):
        small_network().fit(x, y, resume=path, **SETTINGS)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(CheckpointError, match="a pipe, socket or device"):
            small_network().fit(x, y, resume=tmp_path / "pipe", **SETTINGS)


def test_checkpoints_need_no_pickle(tmp_path):
    """NumPy reads the file with pickle switched off, so that nothing in it can run."""
    x, y = blobs()
    small_network().fit(x, y, checkpoint=tmp_path / "c.npz", **SETTINGS)
    with np.load(tmp_path / "c.npz", allow_pickle=False) as file:
        assert {"checkpoint", "values", "order", "best.values", "slot0", "slot1"} <= set(file)


def test_a_second_interrupt_acts_at_once():
    """The first Ctrl-C is a request; the second raises, and the old handler is put back."""
    before = signal.getsignal(signal.SIGINT)

    def press_twice():
        with deferred_interrupt(True) as request:
            signal.raise_signal(signal.SIGINT)
            assert request.is_set
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        press_twice()
    assert signal.getsignal(signal.SIGINT) is before


def test_training_in_a_thread_needs_no_signals(tmp_path):
    """Signals belong to the main thread: elsewhere a run with checkpoints works without them."""
    x, y = blobs()
    results = []
    network = NeuralNetwork([5, 7, 3], ["relu", "softmax"])
    thread = threading.Thread(target=lambda: results.append(network.fit(x, y, checkpoint=tmp_path / "c", **SETTINGS)))
    thread.start()
    thread.join()
    assert len(results[0].records) == 6


def test_another_seed_is_refused_by_both(tmp_path):
    """A run is its seed too: the order of rows and the held-out rows follow from it. Older files do not state it."""
    x, y = blobs()
    small_network(config={"seed": 4}).fit(x, y, **SETTINGS, checkpoint=tmp_path / "c")
    with pytest.raises(CheckpointError, match="made with seed 4, this run has 5"):
        small_network(config={"seed": 5}).fit(x, y, **SETTINGS, resume=tmp_path / "c")
    facts, arrays = read_checkpoint(tmp_path / "c")
    del facts["settings"]["seed"]
    write_checkpoint(tmp_path / "old", facts, arrays)
    small_network(config={"seed": 4}).fit(x, y, **SETTINGS, resume=tmp_path / "old")


@pytest.mark.parametrize("forge", [lambda order: np.r_[order[:-1], order[0]], lambda order: order + 1])
def test_a_forged_order_of_rows_is_refused(tmp_path, forge):
    """Rows twice, or rows that are not there, under a digest that was made anew."""
    x, y = blobs()
    path = tmp_path / "c"
    small_network().fit(x, y, **SETTINGS, checkpoint=path)
    facts, arrays = read_checkpoint(path)
    arrays = {**arrays, "order": forge(arrays["order"]).astype(arrays["order"].dtype)}
    write_checkpoint(path, facts, arrays)
    with pytest.raises(CheckpointError, match="not a permutation"):
        small_network().fit(x, y, **SETTINGS, resume=path)


ARRAYS = {"a": np.arange(5, dtype=np.int64), "b": np.linspace(0, 1, 3), "c": np.float32([])}
FACTS = {"step": 3, "text": "ü", "list": [1.5, None, True]}


def written(path, **changes):
    """A checkpoint of those facts and arrays, some of them changed."""
    write_checkpoint(path, FACTS, {**ARRAYS, **changes})
    return path


def with_header(path, content, **arrays):
    """A file in the container of a checkpoint, with this header."""
    with open(path, "wb") as file:
        write_members(file, {"checkpoint": np.frombuffer(content, np.uint8), **arrays})
    return path


def signed(text):
    """This text as a header with a right digest, and no arrays."""
    return b"smallnet-checkpoint 1 sha256=" + hashlib.sha256(text).hexdigest().encode() + b"\n" + text


def said(path, **options):
    """What a refusal says after the file's name."""
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path, **options)
    name, _, text = str(caught.value).partition(": ")
    assert name == str(path)
    assert text.isprintable()
    return text


def test_facts_and_arrays_come_back(tmp_path):
    """Values, dtypes and order; the same content is the same bytes, and a file before it is replaced."""
    path = tmp_path / "c"
    path.write_bytes(b"something else")
    facts, arrays = read_checkpoint(written(path))
    assert facts == FACTS
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
    assert path.read_bytes() == written(tmp_path / "again").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["again", "c"]


@pytest.mark.parametrize(
    "change",
    [{"a": np.array([0, 1, 2, 3, 5])}, {"a": np.arange(5, dtype=np.float64)}, {"a": np.arange(5)[:, None]},
     {"d": np.zeros(0)}],
    ids=["a value", "a dtype", "a shape", "one more"],
)  # fmt: skip
def test_the_digest_is_of_all_that_is_read(tmp_path, change):
    """An array under the header of other ones: its bytes, its dtype, its shape and its name count."""
    members = read_members(written(tmp_path / "c"), max_bytes=1 << 20)
    with open(tmp_path / "d", "wb") as file:
        write_members(file, {**members, **change})
    assert said(tmp_path / "d") == "the content does not match its SHA-256 digest; start training anew"


def test_the_digest_is_a_sha256_of_text_and_arrays(tmp_path):
    """As the file's description says, so that another program can make it."""
    header = read_members(written(tmp_path / "c"), max_bytes=1 << 20)["checkpoint"].tobytes()
    line, _, text = header.partition(b"\n")
    expected = hashlib.sha256(text)
    for name, array in ARRAYS.items():
        expected.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode() + array.tobytes())
    assert line.decode() == f"smallnet-checkpoint 1 sha256={expected.hexdigest()}"
    assert json.loads(text) == FACTS


def test_other_files_are_refused_in_their_own_words(tmp_path):
    """What was found, what was expected, and what to do; one printable line with the file's name."""
    path = tmp_path / "c"
    path.write_bytes(b"hello")
    assert said(path).endswith("; expected a checkpoint; start training anew")
    assert "export the model again" not in said(path)
    for members, held in (({}, "nothing"), ({"a": np.zeros(1), "b": np.zeros(1), "c": np.zeros(1), "d": np.zeros(1)},
                                            "a, b, c")):  # fmt: skip
        with open(path, "wb") as file:
            write_members(file, members)
        assert said(path) == f"no checkpoint, it holds {held}; give a file that --checkpoint wrote"
    old = b"smallnet-checkpoint 2 sha256=" + b"0" * 64 + b"\n{}"
    assert said(with_header(path, old)) == (
        "begins with b'smallnet-checkpoint 2 sha256=0', expected 'smallnet-checkpoint 1 sha256=...'; give a file that "
        "--checkpoint wrote"
    )
    wrong = "the content does not match its SHA-256 digest; start training anew"
    assert said(with_header(path, signed(b"{}")[:-1])) == wrong
    assert said(with_header(path, b"smallnet-checkpoint 1 sha256=\xff\n{}")) == wrong
    for text in (b"{", b"\xff", b"[" * 100_000):
        found = said(with_header(path, signed(text)))
        assert found.startswith("its header is not JSON (")
        assert found.endswith("); start training anew")
    for text in (b"[]", b"3", b"null", b'"x"'):
        assert said(with_header(path, signed(text))) == "its header holds no facts; start training anew"
    assert read_checkpoint(with_header(path, signed(b"{}"))) == ({}, {})
    assert read_checkpoint(with_header(path, signed(b"{\n}"))) == ({}, {})  # only the first line is the format's


def test_a_file_over_the_limit_is_refused(tmp_path):
    """By its size, in bytes; just the limit is read. Without one it is 256 MiB."""
    path = written(tmp_path / "c")
    size = path.stat().st_size
    assert read_checkpoint(path, max_bytes=size)[0] == FACTS
    assert f"{size:,} bytes, over the limit of {size - 1:,}" in said(path, max_bytes=size - 1)
    with open(path, "r+b") as file:
        file.truncate((1 << 28) + 1)
    assert "over the limit of 268,435,456" in said(path)


def differs(found, expected):
    """What is said of two runs; None where they are one."""
    try:
        check_same_run("c.npz", found, expected)
    except CheckpointError as error:
        return str(error)
    return None


def test_the_first_setting_that_differs_is_named():
    """In the order of the present run; settings that only one of them has count too."""
    run = {"layers": "5-3", "epochs": "4", "data": "ab"}
    advice = "; continue with the same settings and data, or start anew"
    assert differs(run, dict(reversed(run.items()))) is None
    assert differs({**run, "epochs": "5", "data": "x"}, run) == f"c.npz: made with epochs 5, this run has 4{advice}"
    assert differs({"layers": "5-3", "epochs": "4"}, run) == f"c.npz: made with data None, this run has ab{advice}"
    assert differs({**run, "more": "1"}, run) == f"c.npz: made with more 1, this run has None{advice}"
    long = differs({**run, "data": "y" * 500 + "\n"}, run)
    assert len(long) < 200
    assert long.isprintable()


@pytest.mark.parametrize("name", ["seed", "standardize", "class_weight", "label_smoothing"])
def test_what_older_files_do_not_state_is_not_asked_of_them(name):
    """But what they state is compared; what they leave out besides is a difference, and the next one is named."""
    assert differs({"data": "ab"}, {name: "1", "data": "ab"}) is None
    assert differs({"data": "ab", name: "2"}, {name: "1", "data": "ab"}).startswith(f"c.npz: made with {name} 2, this")
    assert differs({"data": "cd"}, {name: "1", "data": "ab"}).startswith("c.npz: made with data cd, this run has ab")


def test_a_fingerprint_tells_data_apart():
    """By values, shape, dtype, order and absence; not by how the array lies in memory."""
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    others = [
        (x,), (x.reshape(3, 2),), (x.astype(np.float64),), (x.view(np.int32),), (x + 1,), (x, None), (None, x), (x, x),
        (None,), (),
    ]  # fmt: skip
    found = [data_digest(*arrays) for arrays in others]
    assert len(set(found)) == len(others)
    assert all(re.fullmatch("[0-9a-f]{16}", text) for text in found)
    assert data_digest(np.asfortranarray(x)) == data_digest(x)
    assert data_digest(np.repeat(x, 2, axis=1)[:, ::2]) == data_digest(x)
    expected = hashlib.sha256(b"<f4(2, 3)" + x.tobytes() + b"none").hexdigest()[:16]
    assert data_digest(x, None) == expected
