import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge_runtime import Engine
from edge_runtime.errors import NativeUnavailable
from edge_runtime.native import compiler, kernels, library, processor
from edge_runtime.native.cache import VARIABLE
from tests.compilers import needs_compiler
from tests.networks import random_model, random_rows

pytestmark = needs_compiler

COUNTING = """#!/bin/sh
echo "$@" >>"{log}"
{refuse}
exec {compiler} "$@"
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache that is empty."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "kept"))
    return tmp_path / "kept"


@pytest.fixture
def counted(tmp_path, monkeypatch):
    """A compiler that notes how it is called; `refuse` in its script can make it old. Gives its calls."""
    real = compiler.find_compiler().command
    log, path = tmp_path / "calls", tmp_path / "counting-cc"
    log.touch()

    def make(refuse=""):
        path.write_text(COUNTING.format(log=log, refuse=refuse, compiler=" ".join(real)), encoding="utf-8")
        path.chmod(0o700)
        monkeypatch.setenv("CC", str(path))

    make()
    return make, lambda: log.read_text(encoding="utf-8").splitlines()


def test_it_is_compiled_once_for_every_model_and_process(folder, counted):
    """The second process finds what the first one kept, and never calls the compiler."""
    code = """
import numpy as np
from edge_runtime import Engine
from tests.networks import random_model
print(Engine(random_model([{n}, 3], ["relu"]), backend="native").run(np.ones({n}, np.float32)).shape)
"""
    for n in (4, 5):
        done = subprocess.run([sys.executable, "-c", code.format(n=n)], capture_output=True, text=True)
        assert done.stdout == "(3,)\n", done.stderr
    assert len(counted[1]()) == 1
    assert len(list(folder.iterdir())) == 1


def test_the_folder_and_the_library_are_the_owners_alone(folder):
    """Modes 0700, and nothing else is left in the folder."""
    path = kernels().path
    assert path.parent == folder
    assert folder.stat().st_mode & 0o777 == path.stat().st_mode & 0o777 == 0o700
    assert [entry.name for entry in folder.iterdir()] == [path.name]


def test_another_compiler_source_or_processor_is_another_library(folder, counted, monkeypatch):
    """Each has a key of its own: an update of the compiler, other flags, another CPU."""
    names = {kernels().path.name}
    counted[0]("# an update")
    names.add(kernels().path.name)
    monkeypatch.setattr(processor, "cpu_features", frozenset)
    names.add(kernels().path.name)
    monkeypatch.setattr(
        library, "kernels_source", lambda: (Path(library.__file__).parent / "kernels.c").read_bytes() + b"\n"
    )
    names.add(kernels().path.name)
    assert len(names) == 4


def test_a_library_of_another_processor_is_never_loaded(folder, monkeypatch):
    """A process that has no AVX does not take what one with it compiled, though it lies in the same folder."""
    kernels()
    monkeypatch.setattr(processor, "cpu_features", frozenset)
    plain = kernels()
    assert plain.features == ()
    assert plain.kind in ("SSE2", "plain C")
    assert len(list(folder.iterdir())) == len({*folder.iterdir()})


def test_instructions_that_the_compiler_does_not_know_are_left_out(folder, counted):
    """An old compiler makes the library of the next kind of processor; the cache is asked first the next time."""
    counted[0]('case "$*" in *-mavx*|*dotprod*) echo "error: unrecognized option" >&2; exit 1;; esac')
    assert kernels().features == ()
    calls = len(counted[1]())
    assert kernels().features == ()
    assert len(counted[1]()) == calls


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_folder_that_others_may_write_to_is_refused(folder, mode):
    """With its name, its mode, and what to do; nothing in it is loaded."""
    path = kernels().path
    folder.chmod(mode)
    with pytest.raises(NativeUnavailable, match=rf"others may write to .*kept \(mode {mode:o}\).*{VARIABLE}"):
        kernels()
    folder.chmod(0o700)
    assert kernels().path == path


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_library_that_others_may_write_to_is_refused(folder, mode):
    """Though the folder is private by now."""
    kernels().path.chmod(mode)
    with pytest.raises(NativeUnavailable, match=f"mode {mode:o}"):
        kernels()


def test_what_belongs_to_somebody_else_is_refused(folder, monkeypatch):
    """By the owner's number."""
    kernels()
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(NativeUnavailable, match=f"belongs to user {owner}, and not to {owner + 1}"):
        kernels()


def test_a_link_in_the_place_of_a_library_is_refused(folder, tmp_path):
    """What it leads to may be anybody's."""
    path = kernels().path
    path.rename(tmp_path / "elsewhere.so")
    path.symlink_to(tmp_path / "elsewhere.so")
    with pytest.raises(NativeUnavailable, match=r"is no regular file|others may write"):
        kernels()


def test_a_damaged_library_is_made_anew(folder, counted):
    """Its name holds the digest of its content: one that was cut short is never loaded."""
    path = kernels().path
    path.unlink()
    path.write_bytes(b"cut short")
    path.chmod(0o700)
    assert kernels().path == path
    assert path.stat().st_size > 10_000
    assert len(counted[1]()) == 2


def test_a_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    """A file stands in its place."""
    (tmp_path / "file").touch()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "file" / "kept"))
    with pytest.raises(NativeUnavailable, match="file"):
        kernels()


def test_the_folder_is_where_caches_are(monkeypatch):
    """The variable's; else that of XDG_CACHE_HOME; else the user's own."""
    from edge_runtime.native.cache import cache_folder

    monkeypatch.setenv(VARIABLE, "/a/b")
    assert cache_folder() == Path("/a/b")
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/smallnet")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/smallnet")


def test_a_relative_xdg_cache_home_is_none(monkeypatch):
    """As its standard says: what is compiled does not lie in whatever folder a program was started in."""
    from edge_runtime.native.cache import cache_folder

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/smallnet")


def test_a_user_without_a_home_is_told(monkeypatch):
    """Nothing is written into a folder that is called ~."""
    from edge_runtime.native.cache import cache_folder

    for name in (VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(NativeUnavailable, match=f"no home folder.*{VARIABLE}"):
        cache_folder()


def test_a_link_to_the_folder_is_followed_once(folder, tmp_path, monkeypatch):
    """What was checked is what is loaded, though somebody turns the link elsewhere in between."""
    folder.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "link"))
    assert kernels().path.parent == folder


def test_a_library_that_goes_or_cannot_be_read_is_made_anew(folder, counted, monkeypatch):
    """Another process may remove it between two looks."""
    path, asked = kernels().path, []
    real = Path.read_bytes

    def read(self):
        if self == path and not asked:
            asked.append(self)
            raise FileNotFoundError(2, "No such file or directory", str(self))
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", read)
    assert kernels().path == path
    assert len(counted[1]()) == 2


def test_a_library_that_lacks_a_function_is_refused(folder, tmp_path, monkeypatch):
    """Whatever a compiler made of the source; to delete it would bring it again, so the compiler is what to change."""
    monkeypatch.setattr(library, "kernels_source", lambda: b'const char *smallnet_kind(void) { return "none"; }')
    with pytest.raises(NativeUnavailable, match=r"does not load .* name a compiler for this machine"):
        kernels()


def test_processes_that_compile_at_once_do_not_hurt_each_other(folder):
    """Four at the same time: each answers, and one library is kept."""
    code = (
        "import numpy as np\nfrom edge_runtime import Engine\nfrom tests.networks import random_model\n"
        "print(Engine(random_model([4, 3], ['relu']), backend='native').run(np.ones(4, np.float32)).shape)"
    )
    started = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    assert [process.communicate()[0] for process in started] == ["(3,)\n"] * 4
    assert len(list(folder.iterdir())) == 1


def test_engines_share_the_library():
    """It is loaded once in a process."""
    model = random_model([4, 3], ["relu"])
    first, second = (Engine(model, backend="native") for _ in range(2))
    assert kernels() is kernels()
    np.testing.assert_array_equal(first.run(random_rows(2, 4)), second.run(random_rows(2, 4)))
