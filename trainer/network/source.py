"""Whether a float model is the one that a quantized model was made of, as far as the two can tell."""

from __future__ import annotations

import numpy as np

from edge_runtime import Dense, Model, QuantizedDense
from trainer.errors import ConfigurationError

# Scales are positive, so that an integer keeps its weight's sign, also where layers were equalized. Measured: 1.00
# after rounding of any kind, 0.95 after long training at a high rate, 0.49 to 0.66 beside a network of another seed.
# How near the answers are says less: that training left -6 dB, and networks of other seeds, of the same rows, 3 dB.
_FEWEST_ALIKE = 0.75


def check_activations(model: Model, quantized: Model) -> None:
    """Raise ConfigurationError for a layer whose activation is another one in the float model."""
    sources = {layer.name: layer for layer in model.layers if isinstance(layer, Dense)}
    for layer in quantized.layers:
        source = sources.get(layer.name)
        if source is not None and isinstance(layer, (Dense, QuantizedDense)) and source.activation != layer.activation:
            raise ConfigurationError(
                f"layer '{layer.name}' of quantized has {layer.activation}, the model's has {source.activation}; give "
                "the float model that it was made of"
            )


def source_doubts(model: Model, quantized: Model) -> list[str]:
    """That the float model has other weights than `quantized` was made of, in a line; [] if their signs agree.

    Layers have the same names and shapes. The same network after more or fewer epochs has mostly the same signs, and is
    not told apart.
    """
    share = _signs_alike(model, quantized)
    if share >= _FEWEST_ALIKE:
        return []
    return [
        f"quantized was hardly made of this model: {share:.0%} of its weights have the sign that the model's have, by "
        f"size (expected {_FEWEST_ALIKE:.0%} at least, chance gives half); give the float model that it was made of"
    ]


def _signs_alike(model: Model, quantized: Model) -> float:
    """Of the integers that stand for weights, each counted as large as it is, the share whose sign is the weight's."""
    sources = {layer.name: layer for layer in model.layers if isinstance(layer, Dense)}
    alike = total = 0.0
    for layer in quantized.layers:
        if isinstance(layer, QuantizedDense) and layer.name in sources:
            size = np.abs(layer.weight, dtype=np.float64)
            alike += float(size[np.sign(layer.weight) == np.sign(sources[layer.name].weight)].sum())
            total += float(size.sum())
    return alike / total if total else 1.0
