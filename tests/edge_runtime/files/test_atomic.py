import os
import signal
import subprocess
import sys
import threading

import pytest

from edge_runtime.files import atomic
from edge_runtime.files.atomic import is_temporary, make_folder, replacing, write_bytes, write_together

WRITE_FOREVER = """
import sys
from edge_runtime.files.atomic import write_bytes
print("ready", flush=True)
while True:
    for letter in b"ab":
        write_bytes(sys.argv[1], bytes([letter]) * 200_000)
"""

# A child for each line of Python that a save runs; the child kills itself before that line.
DIE_AT_EACH_LINE = """
import os, signal, sys
import numpy as np
from edge_runtime import Dense, Model, load, save
from edge_runtime.artifact.artifact import save_bytes
def model(value):
    return Model((Dense("a", np.full((3, 2), value, np.float32), np.zeros(2, np.float32), "relu"),))
path, contents, count, died = sys.argv[1], [save_bytes(model(value)) for value in (1, 2)], 0, True
folder = os.path.dirname(path)
save(model(1), path)
while died:
    count += 1
    child = os.fork()
    if child == 0:
        left = [count]
        def tracer(frame, event, argument):
            if event == "line":
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
            return tracer if os.sep + "edge_runtime" + os.sep in frame.f_code.co_filename else None
        new = model(2)
        sys.settrace(tracer)
        save(new, path)
        os._exit(0)
    died = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    for name in set(os.listdir(folder)) - {os.path.basename(path)}:  # what the next save passes over after a day
        os.utime(os.path.join(folder, name), times=(0, 0))
    with open(path, "rb") as file:
        assert file.read() == contents[0] or file.seek(0) == 0 and file.read() == contents[1], count
    if died and load(path).layers[0].weight[0, 0] == 2:
        save(model(1), path)
save(model(1), path)
assert os.listdir(folder) == [os.path.basename(path)]
print(count)
"""


def test_an_error_while_writing_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    """The old content stays until the new one is complete."""
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def write_half_and_fail():
        with replacing(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half_and_fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_killed_writer_leaves_an_old_or_a_new_file_and_one_after_a_day_tidies_up(tmp_path):
    """SIGKILL at ten arbitrary moments: the file is always one of the two contents, whole."""
    path = tmp_path / "file"
    write_bytes(path, b"a" * 200_000)
    for delay in range(10):
        process = subprocess.Popen([sys.executable, "-c", WRITE_FOREVER, path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=0.003 * delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        content = path.read_bytes()
        assert content in (b"a" * 200_000, b"b" * 200_000)
    for name in os.listdir(tmp_path):
        os.utime(tmp_path / name, times=(0, 0))
    write_bytes(path, b"done")
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_stays_a_link(tmp_path):
    """The file that a link points to is replaced, not the link."""
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


WRITE_SLOWLY = """
import sys
from edge_runtime.files.atomic import replacing
with replacing(sys.argv[1]) as file:
    file.write(b"slow")
    print("writing", flush=True)
    sys.stdin.readline()
"""


def test_a_temporary_file_of_a_running_process_is_left_alone(tmp_path):
    """Two processes may save to one folder at the same time, whatever their process numbers are to each other."""
    command = [sys.executable, "-c", WRITE_SLOWLY, tmp_path / "slow"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        write_bytes(tmp_path / "quick", b"new")
        assert sum(is_temporary(name) for name in os.listdir(tmp_path)) == 1
        process.communicate("\n")
    assert process.returncode == 0
    assert (tmp_path / "slow").read_bytes() == b"slow"
    assert sorted(os.listdir(tmp_path)) == ["quick", "slow"]


def test_what_nobody_writes_any_more_is_removed_and_what_was_never_ours_stays(tmp_path):
    """A file of ours that a day has passed over; one of this hour, folders and links stay."""
    left, recent = (tmp_path / f".smallnet-{letter * 24}.tmp" for letter in "03")
    for name, age in ((left, 86_500), (recent, 86_300)):
        name.write_bytes(b"half")
        os.utime(name, times=(name.stat().st_mtime - age,) * 2)
    (tmp_path / f".smallnet-{'1' * 24}.tmp").mkdir()
    (tmp_path / f".smallnet-{'2' * 24}.tmp").symlink_to("elsewhere")
    others = [".smallnet-\u00b2-x.tmp", f".smallnet-{'g' * 24}.tmp", ".smallnet-.tmp", ".smallnet-0.tmp"]
    for name in others:
        (tmp_path / name).write_bytes(b"not ours")
    write_bytes(tmp_path / "file", b"new")
    assert not left.exists()
    assert recent.exists()
    assert len(os.listdir(tmp_path)) == 8


def test_a_loop_of_links_is_not_replaced(tmp_path):
    """It points to no file, and it is somebody's."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="no regular file"):
        write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").is_symlink()


def test_threads_that_write_one_file_never_tear_it(tmp_path):
    """Each writer has a temporary file of its own; a reader sees one content or the other, whole."""
    path = tmp_path / "file"
    contents = [bytes([letter]) * 50_000 for letter in b"abcd"]
    write_bytes(path, contents[0])
    torn = []

    def write(content):
        for _ in range(20):
            write_bytes(path, content)
            torn.append(path.read_bytes() not in contents)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(torn) == 80
    assert not any(torn)
    assert os.listdir(tmp_path) == ["file"]


def test_devices_are_not_replaced_and_permissions_are_kept(tmp_path):
    """A pipe stays a pipe; a private file stays private."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="no regular file"):
        write_bytes(tmp_path / "pipe", b"x")
    private = tmp_path / "private"
    private.write_bytes(b"old")
    private.chmod(0o600)
    write_bytes(private, b"new")
    assert private.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_killed_before_any_line_of_a_save_the_file_is_the_old_or_the_new_one(tmp_path):
    """Every line of this project that `save` runs is such a moment; a save after a day tidies up."""
    command = [sys.executable, "-c", DIE_AT_EACH_LINE, tmp_path / "m.npz"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 50


@pytest.mark.skipif(os.name != "posix", reason="masks are POSIX's")
def test_the_mask_of_the_process_is_left_alone(tmp_path, monkeypatch):
    """Other threads make files meanwhile: the mask is applied by the system, and never set here."""

    def never(mask):
        raise AssertionError(f"the mask was set to {mask:o}")

    before = os.umask(0o077)
    monkeypatch.setattr(os, "umask", never)
    try:
        write_bytes(tmp_path / "private", b"1")
        (tmp_path / "shared").write_bytes(b"0")
        (tmp_path / "shared").chmod(0o664)
        write_bytes(tmp_path / "shared", b"1")
    finally:
        monkeypatch.undo()
        os.umask(before)
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "shared").stat().st_mode & 0o777 == 0o664


def test_new_folders_are_made_durable_one_in_another(tmp_path, monkeypatch):
    """Each folder that was made is synced in the one around it; one that was there is not touched."""
    synced = []
    monkeypatch.setattr(atomic, "_sync_folder", synced.append)
    make_folder(tmp_path / "a" / "b")
    assert synced == [tmp_path, tmp_path / "a"]
    assert (tmp_path / "a" / "b").is_dir()
    make_folder(tmp_path / "a")
    assert len(synced) == 2


def test_files_written_together_all_change_or_none_does(tmp_path):
    """The second cannot be made: the first keeps its content too, and the error names the second."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"old")
    second.mkdir()
    with pytest.raises(OSError, match="second"):
        write_together({first: b"new", second: b"new"})
    assert first.read_bytes() == b"old"
    second.rmdir()
    write_together({first: b"new", second: b"other"})
    assert (first.read_bytes(), second.read_bytes()) == (b"new", b"other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_files_written_together_get_their_names_in_order(tmp_path, monkeypatch):
    """A killed export has at most a new ONNX file beside an old artifact, never an artifact that nobody verified."""
    renamed, real = [], os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (renamed.append(target.name), real(source, target)))
    write_together({tmp_path / "b": b"1", tmp_path / "a": b"2"})
    assert renamed == ["b", "a"]
