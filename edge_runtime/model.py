"""The one value that flows through the project: a chain of layers, and what a device needs to use it.

A `Model` checks itself when it is made: whoever holds one can trust its shapes, dtypes, grids and values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from edge_runtime.arguments import MODEL_CHECKS, shown
from edge_runtime.errors import InputError, ModelError
from edge_runtime.files import shortened
from edge_runtime.layers import Layer, QuantizedDense, Remade, Stage, WeightedLayer, checked_array
from edge_runtime.numerics import Activation

if TYPE_CHECKING:
    from edge_runtime.array_types import Array


@dataclass(frozen=True, eq=False)
class Standardization(Remade):
    """Input preprocessing: x' = (x - mean) * inv_std, one float32 subtraction and one multiplication (ONNX Sub, Mul).

    mean, inv_std: float32, (n_in,) for one pair per feature or (1,) for one pair for all. A feature whose factor is 0
    did not vary in the training and has no effect.
    """

    mean: Array
    inv_std: Array

    def __post_init__(self) -> None:
        mean = checked_array(self.mean, "'input.mean'", (np.float32,))
        if mean.ndim != 1 or mean.size == 0:
            raise ModelError(f"'input.mean' has shape {mean.shape}, expected (n_in,) or (1,)")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "inv_std", checked_array(self.inv_std, "'input.inv_std'", (np.float32,), mean.shape))

    def __repr__(self) -> str:
        """What it is, in one line."""
        size = self.mean.size
        return f"Standardization({f'{size:,} features' if size > 1 else 'one mean and scale'})"

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """Standardize float32 rows (..., n_in)."""
        return np.multiply(np.subtract(x, self.mean, out=out), self.inv_std, out=out)

    def inverse(self, z: Array) -> Array:
        """Rows (..., n_in) whose standardized ones are z; the mean for a feature whose factor is 0."""
        spread = np.divide(1.0, self.inv_std, out=np.zeros(self.inv_std.shape), where=self.inv_std != 0)
        return z * spread + self.mean


@dataclass(frozen=True, eq=False)
class TestVectors(Remade):
    """Real inputs and the outputs expected for them, with which a device proves itself.

    inputs: float32 (n, n_in), as a user would feed them (before standardization).
    outputs: float32 (n, n_out), what the last layer gives before a final softmax, sigmoid or other float activation.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    inputs: Array
    outputs: Array

    def __post_init__(self) -> None:
        inputs = checked_array(self.inputs, "'test.inputs'", (np.float32,))
        outputs = checked_array(self.outputs, "'test.outputs'", (np.float32,))
        if inputs.ndim != 2 or outputs.ndim != 2 or len(inputs) != len(outputs):
            raise ModelError(
                f"test vectors have shapes {inputs.shape} and {outputs.shape}, expected (n, n_in) and (n, n_out)"
            )
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "outputs", outputs)

    def __repr__(self) -> str:
        """What they are, in one line."""
        return f"TestVectors({len(self.inputs):,} rows, {self.inputs.shape[1]} -> {self.outputs.shape[1]})"


def _is_unicode(text: str) -> bool:
    """Whether a text can be written down: half of a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class Model(Remade):
    """A feed-forward network ready to run, to store or to export. Immutable; `dataclasses.replace` makes variants.

    layers: at least one; widths chain, and so do the grids of neighbouring int8 layers. class_names: one per output, or
    empty. metadata: free-form strings (where it comes from, how it was trained). Raises ModelError.
    """

    layers: tuple[Layer, ...]
    preprocessing: Standardization | None = None
    class_names: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    test_vectors: TestVectors | None = None

    def __post_init__(self) -> None:
        self._take_arguments()
        self._check_chain()
        self._check_names()
        self._check_ends()

    def __repr__(self) -> str:
        """What it is, in one line; its arrays are not printed."""
        sizes = "-".join(str(n) for n in (self.n_in, *(layer.n_out for layer in self.layers)))
        activations = " ".join(layer.activation.name for layer in self.layers)
        parameters = sum(layer.n_parameters for layer in self.layers)
        rows = 0 if self.test_vectors is None else len(self.test_vectors.inputs)
        sizes, activations = shortened(sizes, 50), shortened(activations, 50)
        return f"Model({sizes}, {self.precision}, {activations}, {parameters:,} parameters, {rows:,} test vectors)"

    def _take_arguments(self) -> None:
        """What was given, of the types that it must have, in a form that nobody changes."""
        layers = MODEL_CHECKS.items("layers", self.layers, "a list of layers such as Dense")
        for layer in layers:
            if not isinstance(layer, (WeightedLayer, Stage)):
                kinds = "Dense, QuantizedDense, DynamicQuantizedDense, Elementwise or LayerNorm"
                raise MODEL_CHECKS.refusal("a layer", layer, kinds)
        names = MODEL_CHECKS.items("class_names", self.class_names, "a list of texts, () for none")
        metadata = MODEL_CHECKS.mapping("metadata", self.metadata, "a mapping of texts to texts")
        for name, value in (("layers", layers), ("class_names", names), ("metadata", metadata)):
            object.__setattr__(self, name, value)
        MODEL_CHECKS.instance("preprocessing", self.preprocessing, Standardization, "a Standardization")
        MODEL_CHECKS.instance("test_vectors", self.test_vectors, TestVectors, "TestVectors(inputs, outputs)")
        self.check_texts()

    def _check_chain(self) -> None:
        if not self.layers:
            raise ModelError("a model needs at least one layer, found none")
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            if before.n_out != after.n_in:
                raise ModelError(
                    f"layer '{before.name}' gives {before.n_out} values, layer '{after.name}' takes {after.n_in}"
                )
            if before.activation.definition.is_over_row:
                raise ModelError(f"layer '{before.name}' has {before.activation.name}; only the last layer may")
            grid = before.final_grid if isinstance(before, QuantizedDense) else None
            wanted = after.input if isinstance(after, QuantizedDense) else None
            if grid is not None and grid != wanted:
                raise ModelError(f"layer '{before.name}' gives values on {grid}, layer '{after.name}' takes {wanted}")
        last = self.layers[-1]
        if isinstance(last, QuantizedDense) and last.output is not None:
            raise ModelError(
                f"the last layer '{last.name}' has an output grid; expected none, because it gives float32"
            )

    def _check_names(self) -> None:
        names = [layer.name for layer in self.layers]
        if len(set(names)) < len(names) or not all(names):
            raise ModelError(f"layer names must be different and not empty, found {names}")
        if self.class_names and len(self.class_names) != self.n_out:
            raise ModelError(
                f"{len(self.class_names)} class names for {self.n_out} outputs; expected one each, or none"
            )

    def check_texts(self) -> None:
        """Raise ModelError for a name, or an entry of the metadata, that is no Unicode text.

        `metadata` is a dictionary that may have been written to: whoever stores a model asks again.
        """
        for text in [*(layer.name for layer in self.layers), *self.class_names, *self.metadata]:
            if not isinstance(text, str) or not _is_unicode(text):
                raise ModelError(f"names and metadata must be Unicode text, found {shown(text)}")
        for key, text in self.metadata.items():
            if not isinstance(text, str) or not _is_unicode(text):
                raise ModelError(f"metadata must be Unicode text, found {shown(text)} for {shown(key)}; give its text")

    def _check_ends(self) -> None:
        if self.preprocessing is not None and self.preprocessing.mean.size not in (1, self.n_in):
            raise ModelError(f"'input.mean' has {self.preprocessing.mean.size} values, expected 1 or {self.n_in}")
        vectors = self.test_vectors
        if vectors is not None and (vectors.inputs.shape[1], vectors.outputs.shape[1]) != (self.n_in, self.n_out):
            raise ModelError(
                f"test vectors have {vectors.inputs.shape[1]} inputs and {vectors.outputs.shape[1]} outputs, "
                f"expected {self.n_in} and {self.n_out}"
            )

    @property
    def n_in(self) -> int:
        """Number of input features."""
        return self.layers[0].n_in

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return self.layers[-1].n_out

    @property
    def layer_sizes(self) -> tuple[int, ...]:
        """(n_in, hidden..., n_out)."""
        return (self.n_in, *(layer.n_out for layer in self.layers))

    @property
    def precision(self) -> str:
        """ "float32", "float16", "int8", "int8-dynamic", or "mixed": of the layers with weights, if there are any."""
        kinds = {layer.precision for layer in self.layers if isinstance(layer, WeightedLayer)} or {"float32"}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def macs(self) -> int:
        """Multiply-accumulates with weights for one row."""
        return sum(layer.macs for layer in self.layers)

    @property
    def final_activation(self) -> Activation:
        """The activation of the last layer, always computed in float32."""
        return self.layers[-1].activation

    def with_test_vectors(self, vectors: TestVectors | None) -> Model:
        """The same model with other test vectors."""
        return replace(self, test_vectors=vectors)


def weight_bytes(model: Model) -> int:
    """Bytes of all stored layer arrays and of the preprocessing."""
    layers = sum(array.nbytes for layer in model.layers for array in layer.arrays().values())
    return layers + (0 if model.preprocessing is None else 2 * model.preprocessing.mean.nbytes)


def as_model(model: Any) -> Model:
    """A `Model`, or what the `to_model` of a trained network gives. Raises InputError for all else: a path, mostly."""
    if isinstance(model, Model):
        return model
    made = model.to_model() if hasattr(model, "to_model") and not isinstance(model, type) else None
    if not isinstance(made, Model):
        raise InputError(f"model is a {type(model).__name__}, expected a Model; load(path) gives that of a file")
    return made
