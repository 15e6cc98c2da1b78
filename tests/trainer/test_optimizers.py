import numpy as np
import pytest

from tests.trainer.samples import PLAIN, blobs, small_network
from trainer import ConfigurationError, NeuralNetworkModel
from trainer.optimizers import SGD, Adam, AdamW, Momentum, choose_optimizer

REFERENCES = [
    ("sgd", lambda torch, p: torch.optim.SGD(p, lr=0.03, weight_decay=0.01)),
    ("momentum", lambda torch, p: torch.optim.SGD(p, lr=0.03, momentum=0.9, weight_decay=0.01)),
    (
        Momentum(0.8, nesterov=True),
        lambda torch, p: torch.optim.SGD(p, lr=0.03, momentum=0.8, nesterov=True, weight_decay=0.01),
    ),
    ("adam", lambda torch, p: torch.optim.Adam(p, lr=0.03, weight_decay=0.01)),
    (
        Adam(0.7, 0.9, 1e-3),
        lambda torch, p: torch.optim.Adam(p, lr=0.03, betas=(0.7, 0.9), eps=1e-3, weight_decay=0.01),
    ),
    ("adamw", lambda torch, p: torch.optim.AdamW(p, lr=0.03, weight_decay=0.01)),
]


@pytest.mark.parametrize(("optimizer", "reference"), REFERENCES, ids=lambda value: str(value)[:20])
def test_three_epochs_are_pytorchs(optimizer, reference):
    """The same initial weights, batches and L2 penalty give PyTorch's losses and weights, to 1e-10 in float64."""
    torch = pytest.importorskip("torch")
    x, y = blobs(rows=50)
    network = small_network(kind=NeuralNetworkModel, config={"train_dtype": "float64"}, l2_lambda=0.01)
    weights = [torch.tensor(w, requires_grad=True) for w in network.weights]
    biases = [torch.tensor(b, requires_grad=True) for b in network.biases]
    # PyTorch's weight_decay falls on all parameters it is given: the biases get an optimizer without
    decayed, plain = reference(torch, weights), reference(torch, biases)
    for group in plain.param_groups:
        group["weight_decay"] = 0.0
    history = network.fit(
        x, y, epochs=3, batch_size=16, learning_rate=0.03, shuffle=False, **PLAIN | {"optimizer": optimizer}
    )
    inputs, labels, losses = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(y), []
    for _ in range(3):
        total = 0.0
        for start in range(0, 50, 16):
            part = slice(start, start + 16)
            logits = torch.relu(inputs[part] @ weights[0] + biases[0]) @ weights[1] + biases[1]
            loss = torch.nn.functional.cross_entropy(logits, labels[part])
            decayed.zero_grad()
            plain.zero_grad()
            loss.backward()
            decayed.step()
            plain.step()
            total += loss.item() * len(labels[part])
        losses.append(total / 50)
    np.testing.assert_allclose(history.loss, losses, rtol=0, atol=1e-10)
    for mine, theirs in zip(network.weights + network.biases, weights + biases, strict=True):
        np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=0, atol=1e-10)


def test_adam_is_the_papers_formula():
    """Two steps by hand, in float64."""
    w, m, v = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    mine, slots = w.copy(), Adam().start(2, w.dtype)
    for step, g in enumerate([np.array([0.3, -0.1]), np.array([0.2, 4.0])], start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w = w - 0.01 * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)
        Adam().step(mine, g.copy(), slots, step, 0.01)
    np.testing.assert_allclose(mine, w, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Momentum(1.0), "momentum is 1.0"),
        (lambda: Adam(beta1=-0.1), "beta1 is -0.1"),
        (lambda: AdamW(beta2=1.0), "beta2 is 1.0"),
        (lambda: Adam(epsilon=0.0), "epsilon is 0.0"),
    ],
)
def test_rules_check_their_numbers(make, words):
    """Out-of-range settings are refused when they are made."""
    with pytest.raises(ConfigurationError, match=words):
        make()


@pytest.mark.parametrize(
    ("make", "name"),
    [(lambda m: Momentum(m), "momentum"), (lambda b: Adam(beta1=b), "beta1"), (lambda b: AdamW(beta2=b), "beta2")],
    ids=["momentum", "beta1", "beta2"],
)
def test_shares_that_are_kept_run_from_zero_to_below_one(make, name):
    """Nothing is kept with 0; with 1 nothing new would count, and below 0 or beyond 1 it grows without end."""
    for fits in (0.0, 0.5, float(np.nextafter(1.0, 0.0))):
        assert getattr(make(fits), name) == fits
    for wrong in (-1e-9, 1.0, 1.5, np.nan):
        words = f"^{name} is {wrong}, expected a finite number at least 0 and below 1$"
        with pytest.raises(ConfigurationError, match=words):
            make(wrong)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_remembered_starts_at_zero_in_the_weights_dtype(dtype):
    """None for plain descent, one array for momentum, two for Adam."""
    for name, count in (("sgd", 0), ("momentum", 1), ("adam", 2), ("adamw", 2)):
        slots = choose_optimizer(name).start(5, np.dtype(dtype))
        assert [(slot.shape, slot.dtype, slot.any()) for slot in slots] == [((5,), dtype, False)] * count


def test_an_optimizer_is_named_or_given():
    """By its name with its defaults, or as an object; anything else is answered with the names there are."""
    rules = [choose_optimizer(name) for name in ("sgd", "momentum", "adam", "adamw")]
    assert rules == [SGD(), Momentum(0.9), Adam(0.9, 0.999, 1e-8), AdamW(0.9, 0.999, 1e-8)]
    mine = Adam(0.5)
    assert choose_optimizer(mine) is mine
    for wrong in ("adma", "", 3, None, Adam, ["sgd"]):
        with pytest.raises(ConfigurationError) as caught:
            choose_optimizer(wrong)
        expected = f"optimizer is {wrong!r}, expected one of sgd, momentum, adam, adamw or an Optimizer"
        assert str(caught.value) == expected


def test_default_learning_rates():
    """None is the optimizer's own learning rate."""
    x, y = blobs()
    for name, rate in (("sgd", 0.1), ("momentum", 0.02), ("adam", 0.005), ("adamw", 0.005)):
        assert small_network().fit(x, y, epochs=1, optimizer=name).records[0].learning_rate == rate
    assert small_network().fit(x, y, epochs=1, optimizer=SGD(), learning_rate=0.3).records[0].learning_rate == 0.3
