"""From files and tables to arrays that a network learns from."""

from trainer.data.choices import Choices, Columns
from trainer.data.dataset import Dataset
from trainer.data.idx import idx_files
from trainer.data.idx_data import load_idx
from trainer.data.labels import TARGETS, Target
from trainer.data.npz_data import load_npz
from trainer.data.preprocessing import (
    STANDARDIZATIONS,
    ClassWeight,
    Targets,
    as_truth,
    checked_rows,
    encode_targets,
    learn_standardization,
)
from trainer.data.reading import Reading
from trainer.data.splitting import Split, split
from trainer.data.table_data import as_known_classes, is_class_folder, load_alike, load_table, table_files
from trainer.data.weights import weighted_rows

__all__ = [
    "Choices",
    "ClassWeight",
    "Columns",
    "Dataset",
    "Reading",
    "STANDARDIZATIONS",
    "Split",
    "TARGETS",
    "Target",
    "Targets",
    "as_known_classes",
    "as_truth",
    "checked_rows",
    "encode_targets",
    "idx_files",
    "is_class_folder",
    "learn_standardization",
    "load_alike",
    "load_idx",
    "load_npz",
    "load_table",
    "split",
    "table_files",
    "weighted_rows",
]
