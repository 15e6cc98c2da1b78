"""The training step as a textbook writes it, new arrays everywhere, nothing fused: the oracle of the tests."""

import numpy as np


def softmax(z):
    """Softmax of each row."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def step(weights, biases, x, targets, rate, l2=0.0):
    """One SGD step of a ReLU network with softmax and cross-entropy; returns new weights, new biases and the loss."""
    values = [x]
    for position, (w, b) in enumerate(zip(weights, biases, strict=True)):
        z = values[-1] @ w + b
        values.append(softmax(z) if position == len(weights) - 1 else np.maximum(z, 0))
    loss = -(targets * np.log(values[-1])).sum(axis=1).mean()
    delta = (values[-1] - targets) / len(x)
    new_weights, new_biases = [], []
    for position in range(len(weights) - 1, -1, -1):
        new_weights.insert(0, weights[position] - rate * (values[position].T @ delta + l2 * weights[position]))
        new_biases.insert(0, biases[position] - rate * delta.sum(axis=0))
        delta = (delta @ weights[position].T) * (values[position] > 0)
    return new_weights, new_biases, loss


def train(weights, biases, x, targets, *, rate, batch_size, epochs, l2=0.0):
    """SGD over the rows in their own order; returns weights, biases and the mean loss of each epoch."""
    losses = []
    for _ in range(epochs):
        total = 0.0
        for start in range(0, len(x), batch_size):
            part = slice(start, start + batch_size)
            weights, biases, loss = step(weights, biases, x[part], targets[part], rate, l2)
            total += loss * len(x[part])
        losses.append(total / len(x))
    return weights, biases, losses
