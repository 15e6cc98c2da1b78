"""Reading and writing files that anybody may have made, within limits and in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_runtime.lazy import lazy_names

if TYPE_CHECKING:
    from edge_runtime.files.aligned_npy import ALIGNMENT, NPY_START, npy_header
    from edge_runtime.files.atomic import make_folder, replacing, require_folder, write_bytes, write_together
    from edge_runtime.files.bounded import (
        DATA_MAX_BYTES,
        Chunks,
        PathLike,
        describe,
        escaped,
        is_number,
        printable,
        read_at_most,
        read_file,
        refuse_no_file,
        refuse_no_name,
        shortened,
        standard_input,
    )
    from edge_runtime.files.digest import sha256_for
    from edge_runtime.files.encoding import is_text
    from edge_runtime.files.names import ARRAY_NAMES, ArrayNames, is_table_name
    from edge_runtime.files.npy import read_npy_bytes, read_npz_arrays
    from edge_runtime.files.results import csv_blocks, write_blocks, write_rows
    from edge_runtime.files.rows import RowsRead, as_rows, read_rows, rows_in, rows_of_table, to_float32
    from edge_runtime.files.sizes import parse_bytes
    from edge_runtime.files.stream import tables_of
    from edge_runtime.files.table import Table, read_table
    from edge_runtime.files.text_table import fit_table, format_table

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "atomic": ("make_folder", "replacing", "require_folder", "write_bytes", "write_together"),
        "bounded": (
            "Chunks",
            "DATA_MAX_BYTES",
            "PathLike",
            "describe",
            "escaped",
            "is_number",
            "printable",
            "read_at_most",
            "read_file",
            "refuse_no_file",
            "refuse_no_name",
            "shortened",
            "standard_input",
        ),
        "digest": ("sha256_for",),
        "encoding": ("is_text",),
        "npy": ("read_npy_bytes", "read_npz_arrays"),
        "aligned_npy": ("ALIGNMENT", "NPY_START", "npy_header"),
        "names": ("ARRAY_NAMES", "ArrayNames", "is_table_name"),
        "results": ("csv_blocks", "write_blocks", "write_rows"),
        "rows": ("RowsRead", "as_rows", "read_rows", "rows_in", "rows_of_table", "to_float32"),
        "sizes": ("parse_bytes",),
        "stream": ("tables_of",),
        "table": ("Table", "read_table"),
        "text_table": ("fit_table", "format_table"),
    },
)
