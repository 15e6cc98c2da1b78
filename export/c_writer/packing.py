"""The order of an int8 layer's weights in C, and its biases, into which the input's zero point is folded.

Four outputs are computed at a time. For each four, the inputs come in fours, sixteen bytes a block: [4 outputs][4
inputs], then the inputs that are left, four bytes each. The outputs that are left follow row by row. Nothing is padded.

4-bit weights are 0..15 with 8 added, two to a byte. Of the same blocks four bytes are two outputs, the one in the low
halves and the next in the high ones; of the outputs that are left a byte is two inputs, the last one's high half being
0 where there is no more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_runtime.layers import QuantizedDense


def packed_weight(weight: NDArray[np.int8]) -> NDArray[np.int8]:
    """weight (n_in, n_out) in the order above, int8 (n_in * n_out,)."""
    n_in, n_out = weight.shape
    groups, blocks = n_out // 4, n_in // 4
    fours = weight[:, : 4 * groups].T.reshape(groups, 4, n_in)
    in_blocks = fours[:, :, : 4 * blocks].reshape(groups, 4, blocks, 4).transpose(0, 2, 1, 3)
    left_inputs = fours[:, :, 4 * blocks :].transpose(0, 2, 1)
    of_groups = [in_blocks.reshape(groups, 16 * blocks), left_inputs.reshape(groups, 4 * (n_in % 4))]
    left_outputs = weight[:, 4 * groups :].T
    return np.concatenate([np.concatenate(of_groups, axis=1).reshape(-1), left_outputs.reshape(-1)])


def packed_nibbles(weight: NDArray[np.int8]) -> NDArray[np.uint8]:
    """weight (n_in, n_out) in -8..7 in the order above, two to a byte, uint8 (n,)."""
    codes = (weight + 8).astype(np.uint8)
    n_in, n_out = codes.shape
    groups, blocks = n_out // 4, n_in // 4
    pairs = codes[:, : 4 * groups : 2] | codes[:, 1 : 4 * groups : 2] << 4  # (n_in, 2 a group)
    of_groups = pairs.T.reshape(groups, 2, n_in)
    in_blocks = of_groups[:, :, : 4 * blocks].reshape(groups, 2, blocks, 4).transpose(0, 2, 1, 3)
    left_inputs = of_groups[:, :, 4 * blocks :].transpose(0, 2, 1)
    fours = [in_blocks.reshape(groups, 8 * blocks), left_inputs.reshape(groups, 2 * (n_in % 4))]
    left = np.zeros((n_out % 4, n_in + n_in % 2), np.uint8)
    left[:, :n_in] = codes[:, 4 * groups :].T
    return np.concatenate([np.concatenate(fours, axis=1).reshape(-1), (left[:, 0::2] | left[:, 1::2] << 4).reshape(-1)])


def folded_bias(layer: QuantizedDense) -> NDArray[np.int32]:
    """bias - zero_point * (sum of a column's weights), modulo 2^32, int32 (n_out,).

    C adds modulo 2^32 as well, and the sum that comes out is below 2^31: so it is exact, whatever lies between.
    """
    sums = layer.weight.sum(axis=0, dtype=np.int64)
    return (layer.bias.astype(np.int64) - layer.input.zero_point * sums).astype(np.uint32).view(np.int32)


def packed_floats(weight: NDArray[np.floating]) -> NDArray[np.floating]:
    """weight (n_in, n_out) four outputs at a time, [n_in][4 outputs]; the outputs that are left follow row by row."""
    n_in, n_out = weight.shape
    groups = n_out // 4
    fours = weight[:, : 4 * groups].reshape(n_in, groups, 4).transpose(1, 0, 2)
    return np.concatenate([fours.reshape(-1), weight[:, 4 * groups :].T.reshape(-1)])
