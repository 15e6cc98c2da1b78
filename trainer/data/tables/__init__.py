"""From the columns of a table to what a network learns: which is the label, which are features, and what they mean."""

from trainer.data.tables.choices import Choices, Columns, as_names
from trainer.data.tables.feature_columns import offset_of
from trainer.data.tables.table_data import as_known_classes, is_class_folder, load_alike, load_table, table_files

__all__ = [
    "Choices",
    "Columns",
    "as_known_classes",
    "as_names",
    "is_class_folder",
    "load_alike",
    "load_table",
    "offset_of",
    "table_files",
]
