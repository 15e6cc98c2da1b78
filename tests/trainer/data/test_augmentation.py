import tracemalloc
import types

import numpy as np
import pytest

from edge_runtime import Standardization
from tests.trainer.samples import all_bytes, blobs, small_network
from trainer import ConfigurationError
from trainer.data import Augmentation
from trainer.data.augmentation import check_images

MOVES = ("shift", "rotate", "scale")


def moved(image, draws, **settings):
    """An image (height, width) moved by what was drawn: down, right, angle and size, each from -1 to 1."""
    height, width = image.shape
    drawn = (np.float32([[*draws, -1]]) + 1) / 2
    rng = types.SimpleNamespace(random=lambda shape, dtype: drawn.astype(dtype))
    row = image.reshape(1, -1).astype(np.float32)
    Augmentation(height=height, width=width, **settings).move(row, rng)
    return row.reshape(height, width)


def random_image(height=5, width=7, seed=0):
    return np.random.default_rng(seed).random((height, width), np.float32)


@pytest.mark.parametrize(("down", "right"), [(1, 0), (-2, 0), (0, 2), (0, -1), (2, -2)])
def test_a_shift_by_whole_pixels_moves_the_values_themselves(down, right):
    """What comes in from beyond the edge is the edge's own value."""
    image = random_image()
    lines = (np.arange(5) + down).clip(0, 4)
    columns = (np.arange(7) + right).clip(0, 6)
    found = moved(image, [down / 2, right / 2, 0, 0], shift=2)
    np.testing.assert_allclose(found, image[np.ix_(lines, columns)], atol=1e-6)


def test_values_between_pixels_are_bilinear():
    """Half a pixel is the mean of two, in both directions the mean of four."""
    image = random_image()
    found = moved(image, [0.5, 0.5, 0, 0], shift=1)
    four = (image[:-1, :-1] + image[1:, :-1] + image[:-1, 1:] + image[1:, 1:]) / 4
    np.testing.assert_allclose(found[:-1, :-1], four, atol=1e-6)


@pytest.mark.parametrize("turns", [1, -1])
def test_a_quarter_turn_is_one(turns):
    """About the middle of the image."""
    image = random_image(6, 6)
    np.testing.assert_allclose(moved(image, [0, 0, turns, 0], rotate=90), np.rot90(image, turns), atol=1e-5)


def test_a_larger_image_shows_the_middle():
    """Twice the size: each pixel comes from half as far off the middle."""
    image = np.add.outer(10.0 * np.arange(9), np.arange(9))
    found = moved(image, [0, 0, 0, 0.9999999], scale=0.99)
    middle = np.arange(9) - 4
    expected = 44 + np.add.outer(10 * middle, middle) / 1.99
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_images_of_one_line_or_column():
    """A signal of one axis is shifted along it."""
    signal = np.arange(6.0)
    assert moved(signal[None], [0, 0.5, 0, 0], shift=1)[0].tolist() == [0.5, 1.5, 2.5, 3.5, 4.5, 5]
    assert moved(signal[:, None], [1, 0, 0, 0], shift=1)[:, 0].tolist() == [1, 2, 3, 4, 5, 5]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_rows_are_moved_each_by_itself(dtype):
    """However many there are at once, and however many pixels that is; nothing leaves the values that were there."""
    x = np.random.default_rng(0).random((300, 28 * 28)).astype(dtype)
    together, alone, augment = x.copy(), x.copy(), Augmentation(2, 15, 0.1)
    augment.move(together, np.random.default_rng(5))
    rng = np.random.default_rng(5)
    for row in range(len(alone)):
        augment.move(alone[row : row + 1], rng)
    np.testing.assert_array_equal(together, alone)
    assert (np.abs(together - x).max(axis=1) > 0.05).all()
    assert together.min() >= 0
    assert together.max() <= 1


@pytest.mark.parametrize("name", MOVES)
def test_each_move_draws_as_many_numbers(name):
    """So that what comes after it in a training is the same whatever is moved."""
    rng = np.random.default_rng(1)
    Augmentation(**{name: 0.5}).move(np.zeros((3, 4), np.float32), rng)
    after = np.random.default_rng(1)
    after.random((3, 5), np.float32)
    assert rng.bit_generator.state == after.bit_generator.state


def test_a_share_of_the_rows_stays_as_it_is():
    """About as many as it says, and these to the bit."""
    x = np.random.default_rng(0).random((400, 16), np.float32)
    found = x.copy()
    Augmentation(1, 10, share=0.25).move(found, np.random.default_rng(1))
    assert 75 < (found != x).any(axis=1).sum() < 125


def test_a_text_says_the_same():
    """As the command takes it."""
    assert Augmentation.of("shift=2, rotate=10") == Augmentation(2.0, 10.0)
    assert Augmentation.of("scale=0.1,height=4,width=6") == Augmentation(scale=0.1, height=4, width=6)
    assert Augmentation.of(None) is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "shift",
            "augment is 'shift', expected shift=..., rotate=..., scale=..., share=..., height=...,",
        ),
        ("spin=3", "augment is 'spin=3', expected shift="),
        ("shift=two", "augment is 'shift=two', expected shift="),
        ("shift=0", "augment moves nothing, expected a shift, a rotation or a scale above 0"),
        ("shift=-1", "augment: shift is -1.0, expected a finite number at least 0"),
        ("scale=1", "augment: scale is 1.0, expected a finite number at least 0 and below 1"),
        ("shift=1,share=0", "augment: share is 0.0, expected a finite number above 0"),
        ("shift=1,share=1.5", "augment: share is 1.5, expected a share of the rows, 1 at most"),
        ("rotate=nan", "augment: rotate is nan, expected a finite number"),
        ("rotate=500", "augment: rotate is 500.0, expected 180 degrees at most, either way"),
        ("shift=1,shift=2", "augment is 'shift=1,shift=2', expected shift once, found it 2 times"),
        ("shift=1, rotate=3,shift=1", "augment is 'shift=1, rotate=3,shift=1', expected shift once"),
        ("shift=1,height=4", "augment knows one side of the images, expected height and width, or neither"),
        ("shift=1,height=0,width=4", "augment: height is 0, expected a whole number of at least 1"),
        (3, "augment is 3, expected an Augmentation or a text such as 'shift=2,rotate=10'"),
    ],
)
def test_what_moves_nothing_or_is_not_known_is_refused(spec, message):
    """In one line that says what was expected."""
    with pytest.raises(ConfigurationError) as raised:
        Augmentation.of(spec)
    assert str(raised.value).startswith(message)


def test_rows_that_cannot_be_moved_are_refused():
    """No images, images of another size, pixels with scales of their own, and an autoencoder."""
    x, augment = np.zeros((2, 16), np.float32), Augmentation(1)
    each = Standardization(np.zeros(16, np.float32), np.ones(16, np.float32))
    one = Standardization(np.zeros(1, np.float32), np.ones(1, np.float32))
    check_images(augment, x, np.zeros(2), one)
    check_images(augment, x.reshape(2, 4, 4), np.zeros(2), None)
    with pytest.raises(ConfigurationError, match="rows of 15 values are no square images; give height and width"):
        check_images(augment, x[:, :15], np.zeros(2), None)
    with pytest.raises(ConfigurationError, match="images of 3 x 5 have 15 pixels, the rows have 16 values"):
        check_images(Augmentation(1, height=3, width=5), x, np.zeros(2), None)
    for shift, height, width in ((4, 4, 4), (2, 2, 8), (50, 8, 2)):
        moves = Augmentation(shift, height=height, width=width)
        said = f"shift is {shift} pixels and images are {height} x {width}, .*expected less than {min(height, width)},"
        with pytest.raises(ConfigurationError, match=said):
            check_images(moves, x, np.zeros(2), None)
    check_images(Augmentation(3, 180), x, np.zeros(2), None)
    with pytest.raises(ConfigurationError, match=r"each is standardized by itself, .* standardize='global'"):
        check_images(augment, x, np.zeros(2), each)
    with pytest.raises(ConfigurationError, match="the targets of an autoencoder are the inputs as they were"):
        check_images(augment, x, x.copy(), None)


def test_training_moves_copies_and_nothing_else():
    """The caller's rows stay, in their own order too; each epoch sees other images; validation rows are not moved."""
    x, y = blobs(80, 16, 3)
    kept = x.tobytes()
    losses = {}
    for name, augment in (("plain", None), ("moved", "shift=1,rotate=10")):
        network = small_network(sizes=(16, 6, 3))
        history = network.fit(
            x, y, epochs=2, learning_rate=1e-12, optimizer="sgd", shuffle=False, augment=augment,
            standardize="global", validation_data=(x, y),
        )  # fmt: skip
        losses[name] = history
    assert x.tobytes() == kept
    assert losses["plain"].loss[0] == pytest.approx(losses["plain"].loss[1])
    assert losses["moved"].loss[0] != pytest.approx(losses["moved"].loss[1])
    assert losses["moved"].validation_loss == losses["plain"].validation_loss


def test_a_run_that_was_interrupted_goes_on_to_the_same_bytes(tmp_path):
    """Moves are drawn from the network's generator, whose state the checkpoint holds; other moves are refused."""
    x, y = blobs(60, 16, 3)
    settings = {"batch_size": 16, "augment": Augmentation(1, 10), "standardize": "global", "schedule": "constant"}
    whole, first, second = (small_network(sizes=(16, 6, 3)) for _ in range(3))
    whole.fit(x, y, epochs=4, **settings)
    first.fit(x, y, epochs=2, checkpoint=tmp_path / "c", **settings)
    second.fit(x, y, epochs=4, resume=tmp_path / "c", **settings)
    assert all_bytes(whole) == all_bytes(second)
    with pytest.raises(ValueError, match=r"made with augment Augmentation\("):
        second.fit(x, y, epochs=4, resume=tmp_path / "c", **{**settings, "augment": "shift=2"})


@pytest.mark.parametrize(("rows", "n_in"), [(128, 256), (32, 784), (512, 784)])
def test_the_bytes_that_moving_takes_are_known(rows, n_in):
    """Within 5 % of tracemalloc's peak, for the memory that simulated hardware counts."""
    x, augment = np.random.default_rng(0).random((rows, n_in), np.float32), Augmentation(2, 10, 0.1)
    augment.move(x, np.random.default_rng(0))
    tracemalloc.start()
    try:
        augment.move(x, np.random.default_rng(1))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak == pytest.approx(augment.scratch_bytes(rows, n_in), rel=0.05)
