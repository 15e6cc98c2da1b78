"""Valid inputs of every reader, small ones, from which fuzzing starts; the same in every process."""

from __future__ import annotations

import gzip
import io
import struct
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from edge_runtime import Engine, TestVectors
from edge_runtime.artifact.artifact import save_bytes
from export.onnx_writer.int8_forms import FORMS
from export.onnx_writer.writer import to_onnx
from export.quantization.quantizer import quantize
from tests.networks import random_model, random_rows, staged_model


def artifacts() -> list[bytes]:
    """Every precision, with tables, names, test vectors and standardization, stages, and the smallest network."""
    rows = random_rows(50, 5)
    network = random_model([5, 4, 4, 3], ["tanh", "leaky_relu", "softmax"], standardize=True)
    full = [
        replace(quantize(network, rows, precision), class_names=("a", "b", "ü"), metadata={"target": "class"})
        for precision in ("float32", "float16", "int8", "int8-dynamic", "int4")
    ]
    full = [model.with_test_vectors(TestVectors(rows[:2], Engine(model).logits(rows[:2]))) for model in full]
    names = ["relu", "elu", "selu", "celu", "gelu", "softplus", "swish", "hard_swish", "clip", "sigmoid"]
    full += [quantize(staged_model([5, 4, 3]), rows, precision) for precision in ("float32", "int8")]
    full.append(quantize(network, rows, "int8-a16"))
    return [save_bytes(model) for model in (*full, random_model([1, 1], ["linear"]), random_model([2] * 11, names))]


NETWORK = ([4, 3, 2], ["relu", "softmax"])
ROWS = (random_rows(6, 4), np.array([0, 1, 0, 1, 1, 0]))


def checkpoints() -> list[bytes]:
    """After one epoch of two, with and without a monitored validation set."""
    return [_checkpoint(folder_options) for folder_options in ({}, {"validation_data": ROWS, "patience": 3})]


def _checkpoint(options: dict) -> bytes:
    from trainer import NeuralNetwork, PrecisionConfig

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.ckpt")
        network = NeuralNetwork(*NETWORK, precision_config=PrecisionConfig(seed=1))
        network.fit(*ROWS, epochs=1, schedule="constant", batch_size=4, checkpoint=path, **options)
        return path.read_bytes()


def onnx_files() -> list[bytes]:
    """The project's own files in every form, and the spellings that the reader's tests know."""
    from tests.export.foreign import graph
    from tests.export.onnx_reader.operators.test_activations import ACTIVATION_SPELLINGS, NUMBERS
    from tests.export.onnx_reader.test_reader import FUNCTIONS, SHAPES, SPELLINGS

    model = random_model([5, 4, 4, 3], ["tanh", "relu", "softmax"], standardize=True)
    int8 = quantize(model, random_rows(50, 5), "int8")
    protos = [to_onnx(int8, form) for form in FORMS]
    protos += [to_onnx(quantize(model, random_rows(50, 5), "int4"), form, opset=21) for form in FORMS]
    others = ("float32", "float16", "int8-dynamic", "int8-a16")
    protos += [to_onnx(quantize(model, random_rows(50, 5), name)) for name in others]
    weights = {"S": random_rows(6, 6), "C": random_rows(1, 6)[0], "V": random_rows(6, 3)}
    protos.append(
        graph("t = mine.Twice(x, S, C) y = MatMul(t, V)", functions=FUNCTIONS, domains=', "mine" : 1', **weights)
    )
    protos += [graph(nodes, **constants) for nodes, constants in SPELLINGS.values()]
    protos += [
        graph(f"{nodes} r = Relu(h) y = MatMul(r, W2)", source=source, target=target)
        for source, target, nodes in SHAPES.values()
    ]
    for texts in ACTIVATION_SPELLINGS.values():
        last, _, before = texts[-1].partition(" : ")
        nodes = f"h = Gemm(x, W1, B1) {before} r = {last} y = Gemm(r, W2, B2)"
        used = {key: np.float32(value) for key, value in NUMBERS.items() if f"{key}," in nodes or f"{key})" in nodes}
        protos.append(graph(nodes, **used))
    labels = "h = Gemm(x, V) p = Softmax(h) l = ArgMax<axis=1>(p)"
    protos.append(graph(labels, target="int64[N,1] l, float[N,3] p", V=weights["V"]))
    return [bytes(proto.SerializeToString()) for proto in protos]


def csv_files() -> list[bytes]:
    """With and without header, labels as texts and numbers, in many spellings."""
    spelled = '# rate\nTitle\nx;y;label\n1,5;1.234,5;café\n2,25;3;"a\nb"\n?;4;c\n;;\n'
    return [
        spelled.encode("latin-1"), spelled.encode("utf-16"), gzip.compress(spelled.encode()),
        b"sep=|\r\na|b\r\n1|2\r\n", b'"a" "b"\n"1" 0.5  7\n"2" 1.5 8 \n', b"0,1,2\n0.5,1e-3,2\n1.25,7,x\n",
        b'a,b\n"1,234","5,5"\n', b"1,2,\r3,4,\r", b"% c\n# a b\n1 2\n\n# d\n3 4\n", b"a;b\n1 234,5;2\n",
        b"1.7976931348623157e308,12345678901234567890123\n-0.1234567890123456789,.5\n",
        b"1,2,3\n4,5,6\n", b"a,b,label\n1,2,cat\n3,4,doggy\n", b"1;2;0\n3;4;1\n", b"1\t2.5\t0.5\n-3e2\t4\t1.5\n",
        b'"a","b c","y"\r\n"1","2","x, y"\r\n3,4,z\r\n\r\n', b"\xef\xbb\xbf1,2\n\n3,4\n", b"5\n", b"1,nan,inf\n",
    ]  # fmt: skip


def npy_files() -> list[bytes]:
    """Several dtypes, both byte orders, both memory orders, one to three axes."""
    arrays = [
        random_rows(3, 4), random_rows(2, 6).astype(">f8"), np.arange(6, dtype=np.int8),
        np.asfortranarray(random_rows(3, 2)), np.ones((2, 2, 2), np.float16), np.array([[True, False]]),
        np.arange(4, dtype=">u2")[None],
    ]  # fmt: skip
    return [_npy(array) for array in arrays]


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def npz_files() -> list[bytes]:
    """Labels as numbers, texts and targets, stored and deflated, with names."""
    x, found = random_rows(4, 3), []
    for save, arrays in (
        (np.savez, {"x": x, "y": [0, 1, 0, 1]}),
        (np.savez_compressed, {"x": x, "y": ["a", "b", "b", "a"], "feature_names": ["p", "q", "r"], "source": "here"}),
        (np.savez, {"x": x.astype(">f8"), "y": np.array([1, 0, 1, 0], np.int8), "class_names": ["no", "yes"]}),
        (np.savez, {"x": np.ones((2, 2, 2), np.uint8), "y": random_rows(2, 2)}),
    ):
        file = io.BytesIO()
        save(file, **arrays)
        found.append(file.getvalue())
    return found


def idx_files() -> list[bytes]:
    """Images of each type, plain and gzipped, with four rows, as many as there are labels beside them."""
    found = []
    for code, dtype in {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}.items():
        content = struct.pack(">4B3I", 0, 0, code, 3, 4, 2, 1) + np.arange(8).astype(dtype).tobytes()
        found += [content, gzip.compress(content, 1, mtime=0)]
    return [*found, LABELS]


LABELS = struct.pack(">4BI", 0, 0, 0x08, 1, 4) + bytes([0, 1, 1, 0])
IMAGES = struct.pack(">4B3I", 0, 0, 0x08, 3, 4, 2, 1) + bytes(range(8))
