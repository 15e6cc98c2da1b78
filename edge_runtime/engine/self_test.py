"""A device proves itself: the stored inputs are run and compared with the stored outputs. NumPy is all it takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_runtime.engine.engine import Engine
from edge_runtime.engine.limits import Limits
from edge_runtime.engine.plan import is_dynamic
from edge_runtime.errors import InputError
from edge_runtime.layers import QuantizedDense
from edge_runtime.model import Model, as_model
from edge_runtime.reference import agree, count_lone_nans, output_bound


@dataclass(frozen=True)
class SelfTest:
    """What came of a replay of the stored test vectors.

    values: logits compared. differing: how many break the rule. exact: whether the rule is equality of bits or the
    bound of `edge_runtime.reference.bounds`. max_abs_error and bound: the largest difference seen between numbers,
    and the bound at that place. decisions_changed: rows whose largest output is another one. nans: values that came out
    as NaN, which no stored output is. backend, backend_reason: of the engine.
    """

    rows: int
    values: int
    differing: int
    exact: bool
    max_abs_error: float
    bound: float
    decisions_changed: int
    nans: int = 0
    backend: str = "numpy"
    backend_reason: str = ""

    @property
    def ok(self) -> bool:
        """Whether every value keeps its rule."""
        return self.differing == 0


def require_stored_batch(model: Model, limits: Limits) -> None:
    """Raise InputError where the test vectors are more rows than `limits` allow and `limits.over` is "refuse".

    For commands, where whoever asks for a refusal gets one; `selftest` itself sends as many at once as are allowed.
    """
    if model.test_vectors is not None:
        limits.require_batch(len(model.test_vectors.inputs))


def selftest(model: Model, limits: Limits | None = None, backend: str = "numpy") -> SelfTest:
    """Run the model's test vectors through an engine with these limits, whatever `limits.over` says.

    A trained network may stand in the model's place. backend: as for `Engine`, whose errors it raises too. Raises
    InputError for a model without any, for what is none, for limits of another type, and for an int8-dynamic one whose
    vectors, which are one batch, are more than `limits.max_batch` rows; BudgetExceeded.
    """
    model = as_model(model)
    vectors = model.test_vectors
    if vectors is None or not len(vectors.inputs):
        raise InputError("the model holds no test vectors; export it with calibration or other real rows")
    engine = Engine(model, limits, backend)
    count = len(vectors.inputs)
    step = engine.limits.max_batch or count
    if is_dynamic(model) and step < count:
        raise InputError(
            f"the {count} test vectors of an int8-dynamic model are one batch, the limit max_batch is {step}; raise it"
        )
    parts = [engine.logits(vectors.inputs[start : start + step]) for start in range(0, len(vectors.inputs), step)]
    found = np.concatenate(parts)
    with np.errstate(invalid="ignore"):
        error = np.abs(found.astype(np.float64) - vectors.outputs)
    exact = all(isinstance(layer, QuantizedDense) for layer in model.layers)
    bound = np.zeros(error.shape)
    if not exact:
        bound = output_bound(model, vectors.inputs, activated=False, in_one_pass=False)
    same_bits = found.view(np.uint32) == vectors.outputs.view(np.uint32)
    keeps = same_bits if exact else agree(found, vectors.outputs, bound)
    worst = int(np.nan_to_num(error, nan=-1.0).argmax())
    return SelfTest(
        rows=len(found),
        values=found.size,
        differing=int((~keeps).sum()),
        exact=exact,
        max_abs_error=0.0 if np.isnan(error.flat[worst]) else float(error.flat[worst]),
        bound=float(bound.flat[worst]),
        decisions_changed=int((found.argmax(axis=1) != vectors.outputs.argmax(axis=1)).sum()),
        nans=count_lone_nans(found, vectors.outputs),
        backend=engine.backend,
        backend_reason=engine.backend_reason,
    )
