"""LiteRT's converter (TensorFlow Lite): static int8 and 16-bit activations, and ai-edge-quantizer's int8 and int4.

The converter makes grids by min-max. Floats go in and come out; the output is on a grid all the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers.task import Setting, Task, answer, batches

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
BATCH = 100  # of the rows to be answered
ALGORITHMS = {"min-max": "min_max_uniform_quantize", "mse": "MSE", "octav": "OCTAV", "gptq": "GPTQ"}


def keras_model(task: Task) -> Any:
    """The network in Keras."""
    import keras

    last = len(task.weights) - 1
    layers = [
        keras.layers.Dense(len(bias), None if k == last else "relu", name=f"dense{k}")
        for k, bias in enumerate(task.biases)
    ]
    model = keras.Sequential([keras.Input((len(task.weights[0]),)), *layers])
    for layer, weight, bias in zip(layers, task.weights, task.biases, strict=True):
        layer.set_weights([weight, bias])
    return model


def by_converter(activations: str, task: Task) -> np.ndarray:
    """What TFLiteConverter makes, `activations` being the name of its set of operators."""
    import tensorflow

    def rows() -> Iterator[list[np.ndarray]]:
        return ([row] for row in batches(task.calibration))

    converter = tensorflow.lite.TFLiteConverter.from_keras_model(keras_model(task))
    converter.optimizations = [tensorflow.lite.Optimize.DEFAULT]
    converter.representative_dataset = rows
    converter.target_spec.supported_ops = [getattr(tensorflow.lite.OpsSet, activations)]
    return run(converter.convert(), task.test)


def by_quantizer(bits: tuple[int, int], algorithm: str, task: Task) -> np.ndarray:
    """What ai-edge-quantizer makes: bits of weights and of activations, and the name of what finds the scales."""
    import tensorflow
    from ai_edge_quantizer import quantizer, recipe_manager

    content = tensorflow.lite.TFLiteConverter.from_keras_model(keras_model(task)).convert()
    recipes = recipe_manager.RecipeManager()
    recipes.add_static_config(
        regex=".*",
        operation_name=_all_operators(),
        weight_num_bits=bits[0],
        activation_num_bits=bits[1],
        algorithm_key=algorithm,
    )
    tool = quantizer.Quantizer(bytearray(content))
    tool.load_quantization_recipe(recipes.get_quantization_recipe())
    name = next(iter(interpreter(content, 1).get_signature_runner().get_input_details()))
    calibrated = tool.calibrate({"serving_default": [{name: task.calibration}]})  # of batches it averages the extremes
    return run(bytes(tool.quantize(calibrated).quantized_model), task.test)


def _all_operators() -> Any:
    from ai_edge_quantizer import qtyping

    return qtyping.TFLOperationName.ALL_SUPPORTED


def interpreter(content: bytes, rows: int) -> Any:
    """LiteRT, ready for so many rows at a time."""
    from ai_edge_litert.interpreter import Interpreter

    found = Interpreter(model_content=content)
    details = found.get_input_details()[0]
    found.resize_tensor_input(details["index"], [rows, details["shape"][1]])
    found.allocate_tensors()
    return found


def run(content: bytes, rows: np.ndarray) -> np.ndarray:
    """Its answers to rows, whose number is a multiple of BATCH; put on the grids of its ends where it has such."""
    engine = interpreter(content, BATCH)
    taken, given = engine.get_input_details()[0], engine.get_output_details()[0]
    answers = []
    for batch in batches(rows, BATCH):
        engine.set_tensor(taken["index"], _on_grid(batch, taken))
        engine.invoke()
        answers.append(_from_grid(engine.get_tensor(given["index"]), given))
    return np.concatenate(answers)


def _on_grid(rows: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero_point = details["quantization"]
    if details["dtype"] is np.float32:
        return rows
    ends = np.iinfo(details["dtype"])
    return np.clip(np.rint(rows / scale) + zero_point, ends.min, ends.max).astype(details["dtype"])


def _from_grid(values: np.ndarray, details: dict[str, Any]) -> np.ndarray:
    scale, zero_point = details["quantization"]
    return values.copy() if values.dtype == np.float32 else (values.astype(np.float32) - zero_point) * np.float32(scale)


def settings() -> dict[str, Setting]:
    """By name."""
    of_converter = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"
    found: dict[str, Setting] = {
        "int8: converter": partial(by_converter, "TFLITE_BUILTINS_INT8"),
        "int8-a16: converter": partial(by_converter, of_converter),
    }
    for precision, bits in {"int8": (8, 8), "int4": (4, 8), "int8-a16": (8, 16)}.items():
        for words, algorithm in ALGORITHMS.items():
            found[f"{precision}: ai-edge-quantizer, {words}"] = partial(by_quantizer, bits, algorithm)
    return found


if __name__ == "__main__":
    answer("ai-edge-litert", settings())
