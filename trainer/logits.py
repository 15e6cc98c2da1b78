"""Classifiers whose outputs are logits, as most networks give them that were trained elsewhere.

Their last activation is none, or one such as log_softmax. By squared error to 0 and 1 such outputs would forget what
they are; by the cross-entropy of their softmax, or sigmoid, they go on learning as they did.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge_runtime import Dense, Model, QuantizedDense
from edge_runtime.numerics import Activation
from trainer.losses import LOSSES, Loss

_OF_LOGITS = ("linear", "log_softmax", "leaky_relu", "tanh")  # the largest logit is the largest output
_SUM_ERROR = 1e-3  # of shares of classes that are given as float32


def as_probabilities(model: Model, y: ArrayLike | None, loss: str | Loss | None) -> Model:
    """`model` with softmax, or sigmoid, as its last activation where y are classes and its outputs are no shares.

    What that activation is given is what `Engine.predict` decides by, so decisions stay as they are. y: as for
    `trainer.fine_tune`; None is no classes. loss: a cross-entropy asks for its own activation, another loss for none.
    Returns `model` itself where nothing is to be changed, where its last layer rounds its outputs to a grid, and after
    activations that may give another order than their inputs have.
    """
    last = model.layers[-1]
    has_grid = not isinstance(last, (Dense, QuantizedDense)) or getattr(last, "output", None) is not None
    if y is None or has_grid or last.activation.name not in _OF_LOGITS:
        return model
    if loss is None:
        wanted = _activation_for(model, np.asarray(y))
    else:
        known = LOSSES.get(loss) if isinstance(loss, str) else loss
        wanted = known.fused_with if isinstance(known, Loss) else None  # what is not known is refused later
    if wanted is None:
        return model
    return replace(model, layers=(*model.layers[:-1], replace(last, activation=Activation(wanted))))


def _activation_for(model: Model, y: NDArray[np.generic]) -> str | None:
    """Of what is classes: labels of several outputs, shares of them, or labels of one output that means a class."""
    is_classifier = bool(model.class_names) or model.metadata.get("target") == "class" or y.dtype.kind == "b"
    if model.n_out == 1:
        return "sigmoid" if is_classifier else None
    if y.ndim == 1 or y.shape[1:] == (1,):
        return "softmax"
    return "softmax" if _are_shares(y) and (is_classifier or _are_one_hot(y)) else None


def _are_shares(y: NDArray[np.generic]) -> bool:
    """Whether each row has numbers from 0 on that sum to 1."""
    if y.ndim != 2 or y.dtype.kind not in "biuf":
        return False
    values = y.astype(np.float64)
    return bool((values >= 0).all() and (np.abs(values.sum(axis=1) - 1) <= _SUM_ERROR).all())


def _are_one_hot(y: NDArray[np.generic]) -> bool:
    values = y.astype(np.float64)
    return bool(((values == 0) | (values == 1)).all())
