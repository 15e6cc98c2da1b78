"""The layers that can stand between a dense layer and its activation, by name. A new type is a file and a line here."""

from trainer.layers import BetweenLayer
from trainer.network.batch_norm import BatchNorm

LAYER_TYPES: dict[str, type[BetweenLayer]] = {
    "batch_norm": BatchNorm,
}
