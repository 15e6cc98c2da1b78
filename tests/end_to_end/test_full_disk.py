"""A disk that is full: one line that names the file, exit status 1, and the old file as it was."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.command import run_command

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="RLIMIT_FSIZE and tmpfs, as Linux has them"
)

LIMIT = 2000  # bytes of a file; every file that is written here is larger
LIMITED = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT}, {LIMIT}))
sys.argv[0] = "smallnet"
from export.__main__ import main
main()
"""
MOUNTED = """
mount -t tmpfs -o size=$SIZE tmpfs "$FULL" && cp -a "$OLD"/. "$FULL" || exit 99
head -c 1000000 /dev/zero > "$FULL/filler" 2>/dev/null
cd "$FULL"
"$@"
status=$?
rm filler
cp -a . "$AFTER"
exit $status
"""
COMMANDS = {
    # what is written: (arguments, the file that does not fit)
    "train": (["train", "--epochs", "1", "--hidden", "16", "--out", "t.npz"], "t.npz"),
    "checkpoint": (["train", "--epochs", "1", "--out", "o.npz", "--checkpoint", "t.npz"], "t.npz"),
    "export": (["export", "{m}/m.npz", "--calibrate", "digits", "--out", "."], "m.int8.onnx"),
    "import": (["import", "{m}/m.int8.onnx", "--out", "t.npz"], "t.npz"),
    "bundle": (["bundle", "{m}/m.int8.npz", "-o", "t.pyz"], "t.pyz"),
    "run": (["run", "{m}/m.npz", "--input", "{m}/x.npy", "--output", "t.npy"], "t.npy"),
    "run to csv": (["run", "{m}/m.npz", "--input", "{m}/x.npy", "--output", "t.csv"], "t.csv"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained network, its int8 files, and rows."""
    folder = tmp_path_factory.mktemp("trained")
    assert run_command("train", "--hidden", "6", "--epochs", "1", "--out", folder / "m.npz").exit_code == 0
    assert run_command("export", folder / "m.npz", "--calibrate", "digits", "--out", folder).exit_code == 0
    np.save(folder / "x.npy", np.ones((2000, 64), np.float32))
    return folder


def old_file(name, trained, folder):
    """What an earlier run of the command left: (arguments, path, content)."""
    arguments, out = COMMANDS[name]
    arguments = [argument.replace("{m}", str(trained)) for argument in arguments]
    result = subprocess.run([sys.executable, "-m", "export", *arguments], cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return arguments, folder / out, (folder / out).read_bytes()


def last_line(errors) -> str:
    assert "Traceback" not in errors
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, errors
    assert errors.splitlines()[-1] == lines[0]
    return lines[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_limit_on_file_sizes_gives_one_line_and_keeps_the_old_file(name, trained, tmp_path):
    """RLIMIT_FSIZE: status 1, the file's name, the old content, no temporary file."""
    arguments, path, content = old_file(name, trained, tmp_path)
    before = sorted(os.listdir(tmp_path))
    result = subprocess.run([sys.executable, "-c", LIMITED, *arguments], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr
    line = last_line(result.stderr)
    assert path.name in line
    assert "File too large" in line
    assert "the old file is as it was" in line
    assert path.read_bytes() == content
    assert sorted(os.listdir(tmp_path)) == before


def can_mount() -> bool:
    """Whether a file system can be mounted in a name space of its own, which ends with the process."""
    probe = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount; the limit on file sizes is tested everywhere")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_file_system_gives_one_line_and_keeps_the_old_file(name, trained, tmp_path):
    """A tmpfs filled to the last page: status 1, the file's name, the old content, no temporary file."""
    folders = {name: tmp_path / name.lower() for name in ("OLD", "FULL", "AFTER")}
    for folder in folders.values():
        folder.mkdir()
    arguments, path, _ = old_file(name, trained, folders["OLD"])
    content = {file.name: file.read_bytes() for file in folders["OLD"].iterdir()}
    size = sum(len(data) + 4096 for data in content.values()) + 8192
    result = subprocess.run(
        ["unshare", "-m", "bash", "-c", MOUNTED, "bash", sys.executable, "-m", "export", *arguments],
        env={**os.environ, "SIZE": str(size), **{name: str(folder) for name, folder in folders.items()}},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1, result.stderr
    line = last_line(result.stderr)
    assert path.name in line
    assert "No space left on device; free some space, the old file is as it was" in line
    assert {file.name: file.read_bytes() for file in folders["AFTER"].iterdir()} == content
