"""Other generators of C, given the same weights: each writes its files, and a `peer.h` that firmware.c calls.

None is a dependency. bakeNN, emlearn and emx-onnx-cgen are run by a Python that has them, onnx2c is a program.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edge_runtime import Model, QuantizedDense, QuantParams
from edge_runtime.numerics import dequantize
from edge_runtime.reference import logits, trace
from export.c_writer import write_c
from export.onnx_writer.writer import to_onnx

HERE = Path(__file__).parent / "peers"


class NotInstalledError(Exception):
    """A peer is not on this machine, or refuses the network; the message says which."""


@dataclass(frozen=True)
class Peer:
    """What a generator made: C files and flags, and the rows and answers that it should take and give, exactly."""

    sources: list[Path]
    rows: np.ndarray
    expected: np.ndarray
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Task:
    """A network in int8 with codes to run, uint8 (n, n_in), a folder to write into, and where the peers are."""

    model: Model
    codes: np.ndarray
    folder: Path
    python: str
    onnx2c: str

    @property
    def layers(self) -> list[QuantizedDense]:
        """Those of the network."""
        return [layer for layer in self.model.layers if isinstance(layer, QuantizedDense)]

    @property
    def rows(self) -> np.ndarray:
        """What the codes stand for, float32."""
        return dequantize(self.codes, self.layers[0].input)

    @property
    def logits(self) -> np.ndarray:
        """What NumPy gives, float32."""
        return logits(self.model, trace(self.model, self.rows))


def smallnet(task: Task) -> Peer:
    """This project's."""
    write_c(task.model, task.folder, "net", logits=True)
    _write_header(task, "uint8_t", "float", '#include "net.h"', "net_run_u8(x, y)")
    return Peer([task.folder / "net.c"], task.codes, task.logits)


def bakenn(task: Task, path: str = "portable") -> Peer:
    """bakeNN's portable C, or its calls of CMSIS-NN, which take one scale for all weights of a layer."""
    output = _output_grid(task.logits)
    _save_network(task, output)
    folder = task.folder / "bakenn"
    _call(task.python, HERE / "by_bakenn.py", task.folder / "network.npz", folder, path)
    sources = sorted(folder.rglob("*.c"))
    includes = {str(header.parent) for header in folder.rglob("*.h")}
    call = "bknn_net_infer(arena, x, y)"
    _write_header(
        task,
        "int8_t",
        "int8_t",
        '#include "bknn_net.h"\nstatic uint8_t arena[BKNN_NET_ARENA_SIZE] __attribute__((aligned(16)));',
        call,
    )
    flags = [f"-I{include}" for include in sorted(includes)] + ["-std=c11"]
    return Peer(sources, (task.codes.astype(np.int16) - 128).astype(np.int8), _on_grid(task, output), flags)


def bakenn_cmsis_nn(task: Task) -> Peer:
    """bakeNN with its copy of CMSIS-NN."""
    return bakenn(task, "cmsis-nn")


def onnx2c(task: Task) -> Peer:
    """onnx2c, of the ONNX file that this project writes, its zero points of products as arrays of one."""
    text = _call(task.onnx2c, _integer_graph(task, zero_point_shape=(1,)))
    (task.folder / "peer.c").write_text(text, encoding="utf-8")
    n_in, n_out = task.model.n_in, task.model.n_out
    _write_header(
        task, "uint8_t", "float", f"void entry(const uint8_t x[1][{n_in}], float y[1][{n_out}]);",
        f"entry((const uint8_t (*)[{n_in}])(x), (float (*)[{n_out}])(y))",
    )  # fmt: skip
    return Peer([task.folder / "peer.c"], task.codes, task.logits)


def emx_onnx_cgen(task: Task) -> Peer:
    """emx-onnx-cgen, of the same file."""
    out = task.folder / "peer.c"
    program = Path(task.python).parent / "emx-onnx-cgen"
    options = ("--large-temp-threshold", "0", "--large-weight-threshold", "0", "--model-name", "entry")
    _call(program, "compile", *options, _integer_graph(task), out)
    n_in, n_out = task.model.n_in, task.model.n_out
    _write_header(
        task, "uint8_t", "float", f"void entry(const uint8_t x[1][{n_in}], float y[1][{n_out}]);",
        f"entry((const uint8_t (*)[{n_in}])(x), (float (*)[{n_out}])(y))",
    )  # fmt: skip
    return Peer([out], task.codes, task.logits)


def emlearn(task: Task) -> Peer:
    """emlearn, in float32: it has no int8 for networks."""
    _save_network(task, _output_grid(task.logits))
    headers = _call(task.python, HERE / "by_emlearn.py", task.folder / "network.npz", task.folder).strip()
    n_in, n_out = task.model.n_in, task.model.n_out
    call = f"(void)eml_net_regress(&peer, x, {n_in}, y, {n_out})"
    _write_header(task, "float", "float", '#include "net_emlearn.h"', call)
    return Peer([], task.rows, task.logits, [f"-I{headers}", "-w"])


PEERS: dict[str, Callable[[Task], Peer]] = {
    "smallnet": smallnet,
    "bakeNN portable": bakenn,
    "bakeNN CMSIS-NN": bakenn_cmsis_nn,
    "onnx2c": onnx2c,
    "emx-onnx-cgen": emx_onnx_cgen,
    "emlearn float32": emlearn,
}
PER_LAYER = {"bakeNN CMSIS-NN"}  # takes one scale for the weights of a layer


def _call(program: object, *arguments: object) -> str:
    command = [str(program), *map(str, arguments)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotInstalledError(f"not installed ({error.strerror}: {program})") from None
    if result.returncode:
        lines = result.stderr.strip().splitlines() or ["no message"]
        raise NotInstalledError(f"no file: {lines[-1][:120]}")
    return result.stdout


def _write_header(task: Task, taken: str, given: str, declarations: str, call: str) -> None:
    """`peer.h`; compiled with -DWITHOUT it calls nothing."""
    (task.folder / "peer.h").write_text(
        f"""#include <stdint.h>
#define N_IN {task.model.n_in}
#define N_OUT {task.model.n_out}
typedef {taken} peer_in;
typedef {given} peer_out;
#ifdef WITHOUT
#define PEER_RUN(x, y) ((y)[0] = (peer_out)(x)[0])
#else
{declarations}
static void peer_run(const peer_in *x, peer_out *y) {{ {call}; }}
#define PEER_RUN peer_run
#endif
""",
        encoding="utf-8",
    )


def _integer_graph(task: Task, zero_point_shape: tuple[int, ...] = ()) -> Path:
    """The ONNX file for one row, of codes: without the quantization of the input."""
    proto = to_onnx(task.model)
    graph = proto.graph
    zero_points = {name for node in graph.node if node.op_type == "MatMulInteger" for name in node.input[2:]}
    for tensor in graph.initializer:
        if tensor.name in zero_points:
            tensor.dims[:] = zero_point_shape
    first = graph.node[0]
    assert first.op_type == "QuantizeLinear"
    kept = list(graph.node)[1:]
    del graph.node[:]
    graph.node.extend(kept)
    shape = [1, task.model.n_in]
    graph.input[0].CopyFrom(onnx.helper.make_tensor_value_info(first.output[0], onnx.TensorProto.UINT8, shape))
    graph.output[0].type.tensor_type.shape.dim[0].dim_value = 1
    path = task.folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def _output_grid(values: np.ndarray) -> QuantParams:
    """The grid of outputs, for those who give no floats."""
    low, high = min(0.0, float(values.min())), max(0.0, float(values.max()))
    scale = float(np.float32((high - low) / 255))
    return QuantParams(scale, round(-low / scale))


def _on_grid(task: Task, grid: QuantParams) -> np.ndarray:
    """What the arithmetic of NumPy and onnxruntime gives on an output grid, int8."""
    last = task.layers[-1]
    multiplier = (last.multiplier.astype(np.float64) / grid.scale).astype(np.float32)
    accumulator = np.rint(task.logits.astype(np.float64) / last.multiplier).astype(np.float32)
    steps = np.clip(np.rint(accumulator * multiplier), -grid.zero_point, 255 - grid.zero_point)
    return (steps + grid.zero_point - 128).astype(np.int8)


def _save_network(task: Task, output: QuantParams) -> None:
    """`network.npz`, see peers/by_bakenn.py and peers/by_emlearn.py."""
    layers = task.layers
    grids = [*(layer.input for layer in layers), output]
    arrays: dict[str, Any] = {
        "n_layers": np.array(len(layers)),
        "scales": np.array([grid.scale for grid in grids]),
        "zero_points": np.array([grid.zero_point for grid in grids]),
    }
    for k, layer in enumerate(layers):
        to = 1.0 if layer.output is None else layer.output.scale  # the last multiplier leads to real values
        scale = layer.multiplier.astype(np.float64) * to / layer.input.scale
        arrays |= {f"weight{k}": layer.weight, f"bias{k}": layer.bias, f"weight_scale{k}": scale}
        arrays[f"float{k}"] = (layer.weight * scale).astype(np.float32)
        arrays[f"float_bias{k}"] = (layer.bias * scale * layer.input.scale).astype(np.float32)
    np.savez(task.folder / "network.npz", **arrays)
