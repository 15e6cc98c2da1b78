"""From files and tables to arrays that a network learns from."""

from trainer.data.augmentation import Augmentation, check_images
from trainer.data.dataset import Dataset
from trainer.data.idx import idx_files, is_idx_folder
from trainer.data.idx_data import load_idx
from trainer.data.labels import TARGETS, Target, class_indices
from trainer.data.npz_data import load_npz
from trainer.data.preprocessing import (
    ClassWeight,
    Targets,
    as_truth,
    checked_rows,
    encode_targets,
    regression_targets,
)
from trainer.data.reading import Reading
from trainer.data.shared_rows import shared_doubts, shared_note, shared_rows
from trainer.data.shares import drawn, shuffled
from trainer.data.splitting import Split, split
from trainer.data.standardization import (
    STANDARDIZATIONS,
    dominated_columns,
    learn_standardization,
    merged_columns,
    standardization_notes,
)
from trainer.data.tables import (
    Choices,
    Columns,
    as_known_classes,
    as_names,
    is_class_folder,
    load_alike,
    load_table,
    table_files,
)
from trainer.data.target_units import TargetUnits, coarse_targets
from trainer.data.weights import weighted_rows

__all__ = [
    "Augmentation",
    "Choices",
    "ClassWeight",
    "Columns",
    "Dataset",
    "Reading",
    "STANDARDIZATIONS",
    "Split",
    "TARGETS",
    "Target",
    "TargetUnits",
    "Targets",
    "as_known_classes",
    "as_names",
    "check_images",
    "as_truth",
    "checked_rows",
    "class_indices",
    "coarse_targets",
    "dominated_columns",
    "drawn",
    "encode_targets",
    "idx_files",
    "is_class_folder",
    "is_idx_folder",
    "learn_standardization",
    "load_alike",
    "load_idx",
    "load_npz",
    "load_table",
    "shuffled",
    "shared_doubts",
    "shared_note",
    "shared_rows",
    "split",
    "table_files",
    "merged_columns",
    "regression_targets",
    "standardization_notes",
    "weighted_rows",
]
