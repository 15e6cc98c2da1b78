import os
import signal
import subprocess
import sys
import threading

import pytest

from edge_runtime.atomic import replacing, write_bytes

WRITE_FOREVER = """
import sys
from edge_runtime.atomic import write_bytes
print("ready", flush=True)
while True:
    for letter in b"ab":
        write_bytes(sys.argv[1], bytes([letter]) * 200_000)
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


def test_a_killed_writer_leaves_an_old_or_a_new_file_and_the_next_one_tidies_up(tmp_path):
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
    write_bytes(path, b"done")
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_stays_a_link(tmp_path):
    """The file that a link points to is replaced, not the link."""
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_temporary_file_of_a_running_process_is_left_alone(tmp_path):
    """Two processes may save to one name at the same time; the last rename wins."""
    other = tmp_path / f".smallnet-{os.getppid()}-abc.tmp"
    other.write_bytes(b"somebody is writing this")
    write_bytes(tmp_path / "file", b"new")
    assert other.exists()


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
