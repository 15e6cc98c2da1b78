"""Commands that a user is told to type: they work as printed, from any folder."""

from __future__ import annotations

import os
import shlex
import sys


def typed_path(path: str | os.PathLike[str]) -> str:
    """A file or folder as one word of a shell, under a name that holds in every folder."""
    return shlex.quote(os.path.abspath(path))


def typed_python() -> str:
    """This Python: by its name where that finds it, else by where it is."""
    import shutil  # slow to import, and for few commands

    found = shutil.which("python")
    is_ours = found is not None and os.path.dirname(os.path.abspath(found)) == os.path.dirname(sys.executable)
    return "python" if is_ours else shlex.quote(sys.executable)


def typed_program() -> str:
    """How `smallnet` was started: by its name where that finds it, else by where it is."""
    import shutil  # slow to import, and for few commands

    called = os.path.abspath(sys.argv[0])
    name = os.path.basename(called)
    found = shutil.which("smallnet")
    if name == "__main__.py" and found is None:  # `python -m export`, where no script is on the path
        return f"{shlex.quote(sys.executable)} -m export"
    if os.path.splitext(name)[0] == "smallnet" and (found is None or not os.path.samefile(found, called)):
        return shlex.quote(called)
    return "smallnet"
