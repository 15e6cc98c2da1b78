"""A library that travels with a program: what it runs on, and how it is taken into use there."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from edge_runtime.errors import NativeUnavailable
from edge_runtime.files import sha256_for
from edge_runtime.native.cache import cache_folder, find_kept, keep
from edge_runtime.native.library import kernels, prefer
from edge_runtime.native.processor import machine
from edge_runtime.numerics import cpu_features


def travelling_library() -> tuple[bytes, dict[str, Any]]:
    """This machine's library and what it needs, as plain data. Raises NativeUnavailable as `kernels` does."""
    library = kernels()
    content = library.path.read_bytes()
    return content, {
        "machine": machine(),
        "system": sys.platform,
        "features": list(library.features),
        "sha256": sha256_for(len(content))(content).hexdigest(),
    }


def use_library(content: bytes, needs: Mapping[str, Any]) -> None:
    """Take what `travelling_library` gave into use: it is put where compiled libraries are kept, and loaded from there.

    Raises NativeUnavailable for one that is damaged, or that is for other machines than this.
    """
    if sha256_for(len(content))(content).hexdigest() != needs["sha256"]:
        raise NativeUnavailable("the compiled kernels in this program are damaged; copy it here again")
    found, wanted = (machine(), sys.platform), (needs["machine"], needs["system"])
    if found != wanted:
        raise NativeUnavailable(f"the compiled kernels are for {' '.join(wanted)}, this is {' '.join(found)}")
    missing = sorted({*needs["features"]} - cpu_features())
    if missing:
        raise NativeUnavailable(f"the compiled kernels need {', '.join(missing)}, which this processor has not")
    folder, key = cache_folder(), f"bundled-{needs['sha256'][:32]}"
    prefer(find_kept(folder, key) or keep(folder, key, content), needs["features"])
