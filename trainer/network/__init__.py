"""The network under training: blocks of layers, their parameters, forward and backward."""

from trainer.network.block import Block
from trainer.network.chain import LayerChain
from trainer.network.fake_quantization import FloatBlock, QuantizedBlock
from trainer.network.layer_types import LAYER_TYPES
from trainer.network.layout import checked_between, checked_layout, describe_layout
from trainer.network.parameters import FlatParameters
from trainer.network.precision import LoweredDense, lower_weights
from trainer.network.source import check_activations, source_doubts

__all__ = [
    "Block",
    "LayerChain",
    "FlatParameters",
    "FloatBlock",
    "LAYER_TYPES",
    "LoweredDense",
    "QuantizedBlock",
    "check_activations",
    "checked_between",
    "checked_layout",
    "describe_layout",
    "lower_weights",
    "source_doubts",
]
