"""The one value that flows through the project: a chain of dense layers, and what a device needs to use it.

A `Model` checks itself when it is made: whoever holds one can trust its shapes, dtypes, grids and values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_runtime.activations import ARITHMETIC_ON_INT8, Activation
from edge_runtime.errors import ModelError
from edge_runtime.quantization import INT32_LIMIT, WEIGHT_MAX, QuantParams, certificate

Array = NDArray[Any]


def _checked(array: Any, what: str, dtypes: tuple[type, ...], shape: tuple[int, ...] | None = None) -> Array:
    """`array` as a read-only, C-ordered array, once its dtype, shape and finiteness have been checked."""
    array = np.asarray(array)
    if array.dtype not in [np.dtype(t) for t in dtypes]:
        expected = " or ".join(np.dtype(t).name for t in dtypes)
        raise ModelError(f"{what} has dtype {array.dtype}, expected {expected}")
    if shape is not None and array.shape != shape:
        raise ModelError(f"{what} has shape {array.shape}, expected {shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ModelError(f"{what} holds {int((~np.isfinite(array)).sum())} values that are NaN or inf")
    if array.flags.writeable or not array.flags.c_contiguous or not array.dtype.isnative:
        array = np.array(array, dtype=array.dtype.newbyteorder("="), order="C")
        array.setflags(write=False)
    return array


def _check_weight(weight: Any, name: str, dtypes: tuple[type, ...]) -> Array:
    array = _checked(weight, f"'{name}.weight'", dtypes)
    if array.ndim != 2 or 0 in array.shape:
        raise ModelError(f"'{name}.weight' has shape {array.shape}, expected (n_in, n_out), both at least 1")
    return array


@dataclass(frozen=True, eq=False)
class Dense:
    """y = activation(x @ weight + bias), computed in float32.

    weight: (n_in, n_out), float32 or float16 (widened to float32 before use). bias: float32 (n_out,).
    """

    name: str
    weight: Array
    bias: Array
    activation: Activation

    def __post_init__(self) -> None:
        weight = _check_weight(self.weight, self.name, (np.float32, np.float16))
        bias = _checked(self.bias, f"'{self.name}.bias'", (np.float32,), (weight.shape[1],))
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)
        object.__setattr__(self, "activation", Activation.of(self.activation))

    @property
    def n_in(self) -> int:
        """Width of the rows it takes."""
        return int(self.weight.shape[0])

    @property
    def n_out(self) -> int:
        """Width of the rows it gives."""
        return int(self.weight.shape[1])

    @property
    def precision(self) -> str:
        """ "float32" or "float16": the dtype of the stored weights."""
        return str(self.weight.dtype)

    def arrays(self) -> dict[str, Array]:
        """The stored arrays by their short names, in file order."""
        return {"weight": self.weight, "bias": self.bias}


@dataclass(frozen=True, eq=False)
class QuantizedDense:
    """A dense layer in int8: exact integer accumulators, one float32 multiplication, one rounding.

    weight: int8 (n_in, n_out) in [-127, 127]. bias: int32 (n_out,). multiplier: positive float32 (n_out,).
    input: the grid of its uint8 inputs. output: the grid of its uint8 outputs, or None where the layer gives the
    float32 values `accumulator * multiplier` (then the activation is computed in float32 on them). table: uint8
    (256,) applied to the outputs, giving values on the grid `table_output`; None for the activations that are
    computed by arithmetic.
    """

    name: str
    weight: Array
    bias: Array
    multiplier: Array
    input: QuantParams
    output: QuantParams | None
    activation: Activation
    table: Array | None = None
    table_output: QuantParams | None = None

    def __post_init__(self) -> None:
        weight = _check_weight(self.weight, self.name, (np.int8,))
        n_out = weight.shape[1]
        if int(weight.min()) < -WEIGHT_MAX:
            raise ModelError(f"'{self.name}.weight' holds {int(weight.min())}, expected values in -127..127")
        bias = _checked(self.bias, f"'{self.name}.bias'", (np.int32,), (n_out,))
        multiplier = _checked(self.multiplier, f"'{self.name}.multiplier'", (np.float32,), (n_out,))
        if not (multiplier >= np.finfo(np.float32).tiny).all():
            raise ModelError(
                f"'{self.name}.multiplier' holds {multiplier.min()}, expected positive, normal float32 numbers"
            )
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "bias", bias)
        object.__setattr__(self, "multiplier", multiplier)
        object.__setattr__(self, "activation", Activation.of(self.activation))
        self._check_table()
        if self.certificate >= INT32_LIMIT:
            raise ModelError(
                f"layer '{self.name}': an accumulator can reach {self.certificate:,}, and must stay below "
                f"{INT32_LIMIT:,} to fit int32 on every engine; keep this layer in float16 or float32"
            )

    def _check_table(self) -> None:
        if (self.table is None) != (self.table_output is None):
            raise ModelError(
                f"layer '{self.name}': a table and its output grid belong together, found only one of them"
            )
        if self.table is not None:
            if self.output is None:
                raise ModelError(f"layer '{self.name}' has a table but no output grid to index it with")
            object.__setattr__(self, "table", _checked(self.table, f"'{self.name}.table'", (np.uint8,), (256,)))
        elif self.output is not None and self.activation.name not in ARITHMETIC_ON_INT8:
            raise ModelError(f"layer '{self.name}': activation '{self.activation}' between int8 layers needs a table")

    @property
    def n_in(self) -> int:
        """Width of the rows it takes."""
        return int(self.weight.shape[0])

    @property
    def n_out(self) -> int:
        """Width of the rows it gives."""
        return int(self.weight.shape[1])

    @property
    def precision(self) -> str:
        """Always "int8"."""
        return "int8"

    @property
    def certificate(self) -> int:
        """See `edge_runtime.quantization.certificate`."""
        return certificate(self.weight, self.bias, self.input.zero_point)

    @property
    def final_grid(self) -> QuantParams | None:
        """The grid of what the next layer receives; None where that is float32."""
        return self.table_output if self.table is not None else self.output

    def arrays(self) -> dict[str, Array]:
        """The stored arrays by their short names, in file order."""
        arrays = {"weight": self.weight, "bias": self.bias, "multiplier": self.multiplier}
        return arrays if self.table is None else {**arrays, "table": self.table}


Layer = Dense | QuantizedDense


@dataclass(frozen=True, eq=False)
class Standardization:
    """Input preprocessing: x' = (x - mean) * inv_std, one float32 subtraction and one multiplication (ONNX Sub, Mul).

    mean, inv_std: float32, (n_in,) for one pair per feature or (1,) for one pair for all.
    """

    mean: Array
    inv_std: Array

    def __post_init__(self) -> None:
        mean = _checked(self.mean, "'input.mean'", (np.float32,))
        if mean.ndim != 1 or mean.size == 0:
            raise ModelError(f"'input.mean' has shape {mean.shape}, expected (n_in,) or (1,)")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "inv_std", _checked(self.inv_std, "'input.inv_std'", (np.float32,), mean.shape))

    def __call__(self, x: Array, out: Array | None = None) -> Array:
        """Standardize float32 rows (..., n_in)."""
        return np.multiply(np.subtract(x, self.mean, out=out), self.inv_std, out=out)


@dataclass(frozen=True, eq=False)
class TestVectors:
    """Real inputs and the outputs expected for them, with which a device proves itself.

    inputs: float32 (n, n_in), as a user would feed them (before standardization).
    outputs: float32 (n, n_out), what the last layer gives before a final softmax, sigmoid or other float activation.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    inputs: Array
    outputs: Array

    def __post_init__(self) -> None:
        inputs = _checked(self.inputs, "'test.inputs'", (np.float32,))
        outputs = _checked(self.outputs, "'test.outputs'", (np.float32,))
        if inputs.ndim != 2 or outputs.ndim != 2 or len(inputs) != len(outputs):
            raise ModelError(
                f"test vectors have shapes {inputs.shape} and {outputs.shape}, expected (n, n_in) and (n, n_out)"
            )
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "outputs", outputs)


@dataclass(frozen=True, eq=False)
class Model:
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
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "class_names", tuple(self.class_names))
        object.__setattr__(self, "metadata", dict(self.metadata))
        self._check_chain()
        self._check_names()
        self._check_ends()

    def _check_chain(self) -> None:
        if not self.layers:
            raise ModelError("a model needs at least one layer, found none")
        for before, after in zip(self.layers, self.layers[1:], strict=False):
            if before.n_out != after.n_in:
                raise ModelError(
                    f"layer '{before.name}' gives {before.n_out} values, layer '{after.name}' takes {after.n_in}"
                )
            if before.activation.name == "softmax":
                raise ModelError(f"layer '{before.name}' has softmax; only the last layer may")
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
        texts = [*names, *self.class_names, *self.metadata.keys(), *self.metadata.values()]
        for text in texts:
            if not isinstance(text, str):
                raise ModelError(f"names and metadata must be text, found {text!r}")

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
        """ "float32", "float16", "int8", or "mixed" where layers differ."""
        kinds = {layer.precision for layer in self.layers}
        return kinds.pop() if len(kinds) == 1 else "mixed"

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one row."""
        return sum(layer.n_in * layer.n_out for layer in self.layers)

    @property
    def final_activation(self) -> Activation:
        """The activation of the last layer, always computed in float32."""
        return self.layers[-1].activation

    def with_test_vectors(self, vectors: TestVectors | None) -> Model:
        """The same model with other test vectors."""
        return replace(self, test_vectors=vectors)
