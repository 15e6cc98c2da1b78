import numpy as np
import pytest

from edge_runtime.numerics.activations import Activation
from tests.trainer.samples import PLAIN
from trainer import ConfigurationError, NeuralNetworkModel
from trainer.losses import (
    LOSSES,
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    MeanSquaredError,
    ScaledLoss,
    choose_loss,
)

RNG = np.random.default_rng(0)
A = RNG.dirichlet(np.ones(4), 6)
T = np.eye(4)[[0, 3, 1, 2, 2, 0]]


def _mean(loss, a, targets, weight=None):
    return loss.total(a, targets, weight, np.empty_like(a), np.empty_like(a)) / len(a)


def test_losses_agree_with_scikit_learn():
    """Cross-entropy, binary cross-entropy and squared error are log_loss and mean_squared_error, to 1e-12."""
    metrics = pytest.importorskip("sklearn.metrics")
    assert _mean(CrossEntropy(), A, T) == pytest.approx(metrics.log_loss(T.argmax(axis=1), A), abs=1e-12)
    assert _mean(MeanSquaredError(), A, T) == pytest.approx(metrics.mean_squared_error(T, A), abs=1e-12)
    column, truth = A[:, :1], T[:, :1]
    expected = metrics.log_loss(truth[:, 0], column[:, 0])
    assert _mean(BinaryCrossEntropy(), column, truth) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("delta", [0.3, 1.0])
def test_losses_agree_with_pytorch(delta):
    """Soft targets, class weights and Huber's delta as in PyTorch, to 1e-12."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    targets = RNG.dirichlet(np.ones(4), 6)
    a, t = torch.from_numpy(A), torch.from_numpy(targets)
    assert _mean(CrossEntropy(), A, targets) == pytest.approx(float(-(t * a.log()).sum(1).mean()), abs=1e-12)
    expected = float(functional.binary_cross_entropy(a, t))
    assert _mean(BinaryCrossEntropy(), A, targets) == pytest.approx(expected, abs=1e-12)
    expected = float(functional.huber_loss(a * 5, t, delta=delta))
    assert _mean(Huber(delta), A * 5, targets) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_total_is_the_weighted_sum_of_elements(loss):
    """Row weights multiply rows; a mean over outputs is divided by their number."""
    weight = np.array([[1.0], [2.0], [0.0], [0.5], [1.0], [3.0]])
    elements, scratch = np.empty_like(A), np.empty_like(A)
    loss.elements(A, T, elements, scratch)
    expected = (elements * weight).sum() * (0.25 if loss.is_mean_over_outputs else 1)
    assert loss.total(A, T, weight, np.empty_like(A), scratch) == pytest.approx(expected, rel=1e-12)


def test_saturated_probabilities_cost_a_finite_loss():
    """A probability of exactly 0 for the right class costs 87 in float32, not infinity."""
    a, t = np.array([[0.0, 1.0]], np.float32), np.array([[1.0, 0.0]], np.float32)
    assert _mean(CrossEntropy(), a, t) == pytest.approx(87.3, abs=0.1)
    assert _mean(BinaryCrossEntropy(), a, t) == pytest.approx(87.3, abs=0.1)


def test_the_loss_follows_the_last_activation():
    """softmax: cross-entropy, sigmoid: binary cross-entropy, others: squared error; another can be named."""
    chosen = {name: choose_loss(None, Activation.of(name), 2).name for name in ("softmax", "sigmoid", "linear", "tanh")}
    assert list(chosen.values()) == ["cross_entropy", "binary_cross_entropy", "mse", "mse"]
    assert choose_loss("huber", Activation.of("linear"), 1) == Huber(1.0)
    assert choose_loss(Huber(0.1), Activation.of("linear"), 1) == Huber(0.1)


@pytest.mark.parametrize(
    ("spec", "last", "n_out", "words"),
    [
        ("cross_entropy", "linear", 3, "loss 'cross_entropy' needs softmax as the last activation, found linear"),
        ("cross_entropy", "softmax", 1, "needs at least 2 outputs, found 1; use sigmoid"),
        ("l1", "linear", 1, "loss is 'l1', expected one of"),
        (3, "linear", 1, "loss is 3, expected a name"),
    ],
)
def test_losses_that_do_not_fit_are_refused(spec, last, n_out, words):
    """The message says what the loss needs and what to do."""
    with pytest.raises(ConfigurationError, match=words):
        choose_loss(spec, Activation.of(last), n_out)


def test_huber_delta_is_checked():
    """delta must be positive."""
    with pytest.raises(ConfigurationError, match="delta is 0"):
        Huber(0)


def test_a_loss_made_by_the_caller_trains():
    """Any subclass of Loss can be given to fit; here the fourth power."""

    class Quartic(Loss):
        name = "quartic"

        def elements(self, a, targets, out, scratch):
            np.power(a - targets, 4, out=out)

        def gradient(self, a, targets, out):
            out[...] = 4 * (a - targets) ** 3

    x = np.linspace(-1, 1, 50)[:, None]
    network = NeuralNetworkModel([1, 1], ["linear"])
    assert network.gradient_check(x, 2 * x, loss=Quartic()) < 1e-7
    assert network.fit(x, 2 * x, loss=Quartic(), **PLAIN | {"epochs": 100}).loss[-1] < 1e-3


def by_differences(loss, of, at, targets):
    """Central differences of a row's summed elements by each of `at`, float64, times what `per_row` leaves out."""
    found = np.empty_like(at)
    for place in np.ndindex(*at.shape):
        costs = []
        for change in (1e-6, -1e-6):
            moved = at.copy()
            moved[place] += change
            out, scratch = np.empty_like(at), np.empty_like(at)
            loss.elements(of(moved), targets, out, scratch)
            costs.append(out.sum())
        found[place] = (costs[0] - costs[1]) / 2e-6
    return found


@pytest.mark.parametrize(
    ("loss", "activation"),
    [
        (CrossEntropy(), "softmax"),
        (BinaryCrossEntropy(), "sigmoid"),
        (MeanSquaredError(), "linear"),
        (Huber(), "linear"),
        (Huber(0.3), "linear"),
    ],
    ids=str,
)
def test_a_gradient_is_that_of_the_elements(loss, activation):
    """Central differences in float64, by z where the loss is fused with an activation, by the outputs where not."""
    z, targets = RNG.normal(size=(5, 3)) * 2, RNG.dirichlet(np.ones(3), 5)
    assert (loss.fused_with or "linear") == activation
    of = Activation.of(activation)
    out = np.full_like(z, np.nan)
    loss.gradient(of(z), targets, out)
    np.testing.assert_allclose(out, by_differences(loss, of, z, targets), rtol=1e-6, atol=1e-8)


def test_a_rows_loss_is_a_sum_or_a_mean_over_its_outputs():
    """Cross-entropy sums, the others take the mean, which divides their gradients too."""
    assert {name: loss.per_row(4) for name, loss in LOSSES.items()} == {
        "cross_entropy": 1.0, "binary_cross_entropy": 0.25, "mse": 0.25, "huber": 0.25
    }  # fmt: skip


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_inputs_are_left_alone(loss):
    """Outputs and targets are the same after the loss and after its gradient."""
    a, t, out, scratch = A.copy(), T.copy(), np.empty_like(A), np.empty_like(A)
    loss.total(a, t, np.ones((6, 1)), out, scratch)
    loss.gradient(a, t, out)
    np.testing.assert_array_equal(a, A)
    np.testing.assert_array_equal(t, T)


def test_a_refusal_lists_the_losses():
    """By name, separated by commas; the whole line for one output of softmax."""
    names = "cross_entropy, binary_cross_entropy, mse, huber"
    for spec, last, n_out, expected in (
        ("l1", "linear", 1, f"loss is 'l1', expected one of {names}"),
        (3, "linear", 1, f"loss is 3, expected a name ({names}) or a Loss"),
        ("cross_entropy", "linear", 3, "loss 'cross_entropy' needs softmax as the last activation, found linear; "
                                       f"change the activation or choose another loss ({names})"),
        ("cross_entropy", "softmax", 1,
         "loss 'cross_entropy' needs at least 2 outputs, found 1; use sigmoid for one output"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError) as caught:
            choose_loss(spec, Activation.of(last), n_out)
        assert str(caught.value) == expected


@pytest.mark.parametrize("inner", [LOSSES["mse"], LOSSES["huber"]])
def test_a_scaled_loss_is_that_of_other_units(inner):
    """Its value is the inner loss of scaled outputs and targets, its gradient that of central differences."""
    rng = np.random.default_rng(0)
    a, targets, factor = rng.normal(size=(4, 3)) * 50, rng.normal(size=(4, 3)) * 50, np.array([0.5, 0.01, 4.0])
    loss, out, scratch = ScaledLoss(inner, factor), np.empty_like(a), np.empty_like(a)
    wanted = inner.total(a * factor, targets * factor, None, out, scratch)
    assert loss.total(a, targets, None, out, scratch) == pytest.approx(wanted)
    assert loss.per_row(3) == inner.per_row(3)
    loss.gradient(a, targets, out)
    gradient, step = out.copy(), 1e-4
    for place in np.ndindex(a.shape):
        sides = []
        for sign in (1, -1):
            moved = a.copy()
            moved[place] += sign * step
            loss.elements(moved, targets, out, scratch)
            sides.append(out.sum())
        assert gradient[place] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-5, abs=1e-7)
