"""What the columns of a table mean to a model."""

from edge_runtime.schema.cells import cell_texts, number_text
from edge_runtime.schema.column import Column
from edge_runtime.schema.names import listed, numbered, quoted
from edge_runtime.schema.places import LABEL_NOTE
from edge_runtime.schema.schema import KEY, RULES, Schema, SchemaRows

__all__ = [
    "KEY",
    "LABEL_NOTE",
    "RULES",
    "Column",
    "Schema",
    "SchemaRows",
    "cell_texts",
    "listed",
    "number_text",
    "numbered",
    "quoted",
]
