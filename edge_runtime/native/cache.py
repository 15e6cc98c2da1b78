"""Where compiled libraries are kept, and which files are never loaded: those that others may have written."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from edge_runtime.errors import NativeUnavailable
from edge_runtime.files import sha256_for

VARIABLE = "SMALLNET_CACHE"
_ADVICE = f"compiled code is kept in a folder of your own alone; name one in the variable {VARIABLE}"
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


def cache_folder() -> Path:
    """The folder in the variable SMALLNET_CACHE; else `smallnet` in XDG_CACHE_HOME or in ~/.cache.

    Links are followed here, once: one that others turn elsewhere later changes nothing of what was checked. As its
    standard says, a relative XDG_CACHE_HOME is none. Raises NativeUnavailable for a user who has no home.
    """
    if os.environ.get(VARIABLE):
        return Path(os.path.realpath(os.environ[VARIABLE]))
    home = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(home):
        home = os.path.join(os.path.expanduser("~"), ".cache")
    if not os.path.isabs(home):
        raise NativeUnavailable(f"this user has no home folder; {_ADVICE}")
    return Path(os.path.realpath(os.path.join(home, "smallnet")))


def keep(folder: Path, key: str, content: bytes) -> Path:
    """Put a library where only its owner can write, in one step; a folder that is missing is made, for its owner alone.

    Returns its path, whose name holds the content's digest. Raises NativeUnavailable where that cannot be.
    """
    from edge_runtime.files import make_folder, replacing  # not for those who find a library

    try:
        if not folder.exists():
            make_folder(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)
        require_private(folder)
        path = folder / f"{key}-{content_digest(content)}.so"
        with replacing(path) as file:
            os.fchmod(file.fileno(), 0o700)
            file.write(content)
    except OSError as error:
        raise NativeUnavailable(f"{folder}: {error.strerror or error}; {_ADVICE}") from None
    return path


def find_kept(folder: Path, key: str) -> Path | None:
    """The library that was kept under this key; None where there is none, or it is damaged, unreadable or just gone.

    Raises NativeUnavailable for one that others may have written.
    """
    try:
        names = [name for name in os.listdir(folder) if name.startswith(f"{key}-")]
    except OSError:
        return None
    for name in names:
        path = folder / name
        try:
            require_private(folder, path)
            if name == f"{key}-{content_digest(path.read_bytes())}.so":
                return path
        except OSError:
            continue
    return None


def content_digest(content: bytes) -> str:
    """Half of the SHA-256 of some bytes, in hex: what names hold."""
    return sha256_for(len(content))(content).hexdigest()[:32]


def require_private(folder: Path, file: Path | None = None) -> None:
    """Raise NativeUnavailable where somebody else may have written a file in `folder`, or put another in its place.

    The folder and the file must be this user's and written to by nobody else. The folders around them may be the
    system's too, and one in which nobody removes what belongs to others (/tmp) may be written to.
    """
    inside = Path(os.path.realpath(folder))
    for place in (inside, *inside.parents, *([] if file is None else [file])):
        found = place.lstat()
        is_around = place in inside.parents
        if found.st_uid not in {os.geteuid(), 0 if is_around else os.geteuid()}:
            raise NativeUnavailable(f"{place} belongs to user {found.st_uid}, and not to {os.geteuid()}: {_ADVICE}")
        if found.st_mode & _OTHERS_WRITE and not (is_around and found.st_mode & stat.S_ISVTX):
            raise NativeUnavailable(f"others may write to {place} (mode {stat.S_IMODE(found.st_mode):o}): {_ADVICE}")
        if place == file and not stat.S_ISREG(found.st_mode):
            raise NativeUnavailable(f"{place} is no regular file: {_ADVICE}")
