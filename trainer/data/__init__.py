"""From files and tables to arrays that a network learns from."""

from trainer.data.idx import idx_files, read_idx_folder
from trainer.data.labels import Target, checked_names, encode_labels, parse_labels, unicode_texts
from trainer.data.preprocessing import (
    STANDARDIZATIONS,
    ClassWeight,
    Targets,
    as_truth,
    checked_rows,
    encode_targets,
    learn_standardization,
)
from trainer.data.weights import weighted_rows

__all__ = [
    "ClassWeight",
    "STANDARDIZATIONS",
    "Target",
    "Targets",
    "as_truth",
    "checked_names",
    "checked_rows",
    "encode_labels",
    "encode_targets",
    "idx_files",
    "learn_standardization",
    "parse_labels",
    "read_idx_folder",
    "unicode_texts",
    "weighted_rows",
]
