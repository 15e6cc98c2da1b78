import importlib.util
import shlex
import subprocess
import sys

import numpy as np
import pytest

from edge_runtime import Engine
from edge_runtime.errors import InputError, NativeUnavailable
from edge_runtime.native.compiler import compile_source, find_compiler
from tests.adversarial import adversarial_model, adversarial_rows
from tests.compilers import hide_compilers, needs_compiler
from tests.networks import random_model


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A machine without a compiler; the folder is all there is in its PATH."""
    hide_compilers(monkeypatch, tmp_path)
    return tmp_path


def place(folder, name, text="#!/bin/sh\n"):
    (folder / name).write_text(text, encoding="utf-8")
    (folder / name).chmod(0o700)
    return str(folder / name)


def test_without_a_compiler_one_line_says_what_to_install(alone):
    """What was looked for, and three ways out; it is an InputError."""
    with pytest.raises(
        NativeUnavailable, match=r"no C compiler found .*cc, gcc, clang and ziglang.*pip install ziglang"
    ):
        find_compiler()
    with pytest.raises(InputError):
        Engine(random_model([4, 3], ["relu"]), backend="native")


def test_cc_comes_first_then_gcc_then_clang(alone):
    """The first of them that the PATH holds."""
    for name in ("clang", "gcc", "cc"):
        path = place(alone, name)
        assert find_compiler().command == (path,)


def test_what_is_no_program_is_passed_over(alone):
    """A folder called cc, and a file that may not be run."""
    (alone / "cc").mkdir()
    (alone / "gcc").touch(mode=0o600)
    path = place(alone, "clang")
    assert find_compiler().command == (path,)


def test_the_variable_cc_decides(alone, monkeypatch):
    """With its options; one that is not there is named."""
    path = place(alone, "my-cc")
    monkeypatch.setenv("CC", "my-cc -O1")
    assert find_compiler().command == (path, "-O1")
    monkeypatch.setenv("CC", "no-such-cc")
    with pytest.raises(NativeUnavailable, match="'no-such-cc' of the variable CC is not found"):
        find_compiler()


def test_ziglang_is_the_last_resort(alone, monkeypatch):
    """The package, by the Python that runs."""
    spec = importlib.util.spec_from_file_location("ziglang", __file__)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    assert find_compiler().command == (sys.executable, "-m", "ziglang", "cc")


def test_an_update_of_the_compiler_is_another_one(alone):
    """Told by the file behind the name: nothing is run to find out."""
    path = place(alone, "cc")
    before = find_compiler()
    assert before == find_compiler()
    place(alone, "cc", "#!/bin/sh\n# newer\n")
    assert find_compiler().command == (path,)
    assert find_compiler().identity != before.identity


@needs_compiler
def test_what_the_compiler_says_is_said():
    """The first line with an error in it, and which compiler it was."""
    found = find_compiler()
    with pytest.raises(NativeUnavailable, match=r"cannot compile the kernels \(.*error"):
        compile_source(found, (), b"int broken(")


def test_a_compiler_in_cc_that_fails_is_not_to_be_installed(alone, monkeypatch):
    """It was named: the name is what is wrong."""
    place(alone, "my-cc", "#!/bin/sh\nexit 7\n")
    monkeypatch.setenv("CC", "my-cc")
    with pytest.raises(NativeUnavailable, match=r"\(status 7\); correct or unset CC, or take the numpy backend"):
        compile_source(find_compiler(), (), b"")


def test_a_compiler_that_does_not_run_is_named(alone):
    """A file of another system, for example."""
    path = place(alone, "cc", "\x7fno program")
    with pytest.raises(NativeUnavailable, match=f"{path} does not run"):
        compile_source(find_compiler(), (), b"")


@pytest.mark.parametrize("cc", ["my-cc 'one", '"'])
def test_a_cc_with_an_open_quote_is_refused(alone, monkeypatch, cc):
    """In one line, with what the variable holds."""
    monkeypatch.setenv("CC", cc)
    with pytest.raises(NativeUnavailable, match=r"the variable CC is .*No closing quotation"):
        find_compiler()


def test_a_cc_of_blanks_is_none(alone, monkeypatch):
    """The next name is looked for."""
    path = place(alone, "cc")
    monkeypatch.setenv("CC", "  ")
    assert find_compiler().command == (path,)


@needs_compiler
@pytest.mark.parametrize("option", ["-ffast-math", "-funsafe-math-optimizations"])
def test_inexact_arithmetic_in_cc_changes_nothing(tmp_path, monkeypatch, option):
    """int8 keeps NumPy's bits, and the rest of the process its subnormal numbers."""
    monkeypatch.setenv("CC", shlex.join([*find_compiler().command, option]))
    monkeypatch.setenv("SMALLNET_CACHE", str(tmp_path / "kept"))
    for seed in range(20):
        model = adversarial_model(seed)
        rows = adversarial_rows(model, seed)
        with np.errstate(all="ignore"):
            native, ours = (Engine(model, backend=name).logits(rows) for name in ("native", "numpy"))
        np.testing.assert_array_equal(native.view(np.uint32), ours.view(np.uint32))
    assert np.float32(1e-39) * np.float32(1) > 0


def test_a_compiler_does_not_read_what_is_meant_for_the_program(alone):
    """Rows may come on standard input; a compiler that reads there finds nothing."""
    place(alone, "cc", "#!/bin/sh\nread line && exit 0\necho error: nothing to read >&2\nexit 1\n")
    code = (
        "from edge_runtime.errors import NativeUnavailable\n"
        "from edge_runtime.native.compiler import compile_source, find_compiler\n"
        "try:\n    compile_source(find_compiler(), (), b'')\n"
        "except NativeUnavailable as error:\n    print(error)\nprint(input())"
    )
    done = subprocess.run([sys.executable, "-c", code], input="a row\n", capture_output=True, text=True)
    assert "nothing to read" in done.stdout, done
    assert done.stdout.endswith("a row\n")


def test_where_nothing_temporary_can_be_written_one_line_says_so(alone, monkeypatch):
    """A full disk, or a system that may only be read: `auto` goes on in NumPy."""
    place(alone, "cc")
    monkeypatch.setattr("tempfile.tempdir", str(alone / "missing"))
    with pytest.raises(NativeUnavailable, match=r"no room to compile .*No such file.*TMPDIR"):
        compile_source(find_compiler(), (), b"")
    monkeypatch.setenv("SMALLNET_CACHE", str(alone / "kept"))
    assert "no room to compile" in Engine(random_model([4, 3], ["relu"]), backend="auto").backend_reason


def test_of_a_flood_only_its_ends_are_said(alone):
    """A compiler's first line may have any length."""
    place(alone, "cc", "#!/bin/sh\nprintf 'error %100000d' 1 >&2\nexit 1\n")
    with pytest.raises(NativeUnavailable) as caught:
        compile_source(find_compiler(), (), b"")
    assert len(str(caught.value)) < 600
