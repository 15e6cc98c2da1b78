"""A model becomes C: one file and its header, for microcontrollers and for whatever else has a compiler."""

from export.c_writer.formats import C_FORMATS, format_files, format_paths
from export.c_writer.identifiers import c_identifier
from export.c_writer.tracing import read_trace, tracing_program
from export.c_writer.web import require_ziglang
from export.c_writer.writer import c_files, require_c, write_c

__all__ = [
    "C_FORMATS",
    "c_files",
    "c_identifier",
    "format_files",
    "format_paths",
    "read_trace",
    "require_c",
    "require_ziglang",
    "tracing_program",
    "write_c",
]
