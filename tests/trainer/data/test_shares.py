import numpy as np

from trainer.data.shares import drawn, shuffled


def test_an_order_is_the_same_everywhere():
    """The seed's, whatever NumPy: it is written down here."""
    assert shuffled(8, 3).tolist() == [0, 4, 7, 1, 5, 6, 3, 2]
    assert sorted(shuffled(1000, 1).tolist()) == list(range(1000))
    assert shuffled(1000, 1).tolist() != shuffled(1000, 2).tolist()


def test_each_class_gives_its_share():
    """To within a row; both parts together are all rows, each once."""
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    order = shuffled(1000, 5)
    stay, taken = drawn(order, 100, labels[order])
    assert np.bincount(labels[taken]).tolist() == [60, 30, 10]
    assert sorted([*stay, *taken]) == list(range(1000))
    assert len(drawn(order, 0)[1]) == 0
