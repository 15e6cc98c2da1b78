"""What a model's numbers are, computed plainly, and how far another implementation's may differ."""

from edge_runtime.reference.bounds import (
    LOGITS,
    SUM_ERROR,
    activation_bound,
    agree,
    count_lone_nans,
    implementation_error,
    output_bound,
    product_bound,
    tensor_bounds,
)
from edge_runtime.reference.input_range import WARN_ABOVE, range_warning
from edge_runtime.reference.stage_bounds import stage_bound
from edge_runtime.reference.trace import before_activation, behind_accumulator, logits, stage_values, trace, trace_layer

__all__ = [
    "LOGITS",
    "SUM_ERROR",
    "WARN_ABOVE",
    "activation_bound",
    "agree",
    "before_activation",
    "behind_accumulator",
    "count_lone_nans",
    "implementation_error",
    "logits",
    "output_bound",
    "product_bound",
    "range_warning",
    "stage_bound",
    "stage_values",
    "tensor_bounds",
    "trace",
    "trace_layer",
]
