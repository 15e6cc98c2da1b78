"""What the learning rate of an epoch is multiplied with."""

from __future__ import annotations

import math

import pytest

from tests.trainer.samples import blobs, small_network
from trainer import ConfigurationError
from trainer.schedules import SCHEDULES, Constant, Cosine, Schedule, Step, choose_schedule


def factors(schedule, epochs):
    return [schedule.factor(epoch, epochs) for epoch in range(epochs)]


@pytest.mark.parametrize("epochs", [1, 2, 30])
def test_constant_is_one(epochs):
    """In each epoch of any run."""
    assert factors(Constant(), epochs) == [1.0] * epochs


def test_a_step_multiplies_after_every_so_many_epochs():
    """By default a half every ten; the first step comes after `every` epochs, not with the first one."""
    assert factors(Step(), 31) == [1.0] * 10 + [0.5] * 10 + [0.25] * 10 + [0.125]
    assert factors(Step(2, 0.1), 5) == pytest.approx([1, 1, 0.1, 0.1, 0.01])
    assert factors(Step(1, 3.0), 3) == [1.0, 3.0, 9.0]  # it may grow


@pytest.mark.parametrize("final", [0.0, 0.2, 1.0, 2.5])
def test_cosine_goes_from_one_towards_its_final_factor(final):
    """Loshchilov and Hutter 2017, eq. 5 with eta_max 1: the last epoch is one step before the end of the half wave."""
    expected = [final + (1 - final) * (1 + math.cos(math.pi * epoch / 7)) / 2 for epoch in range(7)]
    assert factors(Cosine(final), 7) == pytest.approx(expected, rel=1e-12)
    assert Cosine(final).factor(0, 7) == 1
    assert Cosine(final).factor(7, 7) == pytest.approx(final, abs=1e-12)


def test_cosine_is_pytorchs():
    """CosineAnnealingLR and StepLR give the same learning rates."""
    torch = pytest.importorskip("torch")
    for schedule, make in (
        (Cosine(0.1), lambda rule: torch.optim.lr_scheduler.CosineAnnealingLR(rule, T_max=9, eta_min=0.1)),
        (Step(3, 0.7), lambda rule: torch.optim.lr_scheduler.StepLR(rule, step_size=3, gamma=0.7)),
    ):
        rule = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        theirs, found = make(rule), []
        for _ in range(9):
            found.append(rule.param_groups[0]["lr"])
            rule.step()
            theirs.step()
        assert factors(schedule, 9) == pytest.approx(found, rel=1e-9)


def test_a_schedule_is_named_or_given():
    """By its name with its defaults, or as an object with others; subclasses of the caller's own too."""
    assert {name: choose_schedule(name) for name in SCHEDULES} == {
        "constant": Constant(), "step": Step(10, 0.5), "cosine": Cosine(0.0)
    }  # fmt: skip
    mine = Step(3, 0.9)
    assert choose_schedule(mine) is mine

    class WarmUp(Schedule):
        def factor(self, epoch, epochs):
            return (epoch + 1) / epochs

    x, y = blobs()
    history = small_network().fit(x, y, epochs=4, learning_rate=0.4, schedule=WarmUp())
    assert [record.learning_rate for record in history.records] == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_only_the_cosine_depends_on_the_length_of_the_run():
    """Which decides whether a run may be resumed with more epochs."""
    assert {name: schedule.depends_on_length for name, schedule in SCHEDULES.items()} == {
        "constant": False, "step": False, "cosine": True
    }  # fmt: skip


@pytest.mark.parametrize("wrong", ["cosin", "", 3, None, Cosine, ["step"]])
def test_an_unknown_schedule_is_refused_with_the_names_there_are(wrong):
    """Whatever type it has."""
    with pytest.raises(ConfigurationError, match=r"^schedule is .*, expected one of constant, step, cosine or a Sch"):
        choose_schedule(wrong)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Step(every=0), r"^every is 0, expected a whole number of at least 1"),
        (lambda: Step(every=1.5), r"^every is 1\.5"),
        (lambda: Step(decay=0.0), r"^decay is 0\.0, expected a finite number above 0"),
        (lambda: Step(decay=math.inf), r"^decay is inf"),
        (lambda: Cosine(final=-0.5), r"^final is -0\.5, expected a finite number at least 0"),
        (lambda: Cosine(final=math.nan), r"^final is nan"),
    ],
)
def test_numbers_out_of_range_are_refused(make, words):
    """When the schedule is made; the least values that make sense are taken."""
    with pytest.raises(ConfigurationError, match=words):
        make()
    assert Step(1, 1e-300).factor(1, 2) == 1e-300


def test_schedules_move_the_learning_rate_of_training():
    """The history's learning rates are the schedule's, and training differs."""
    x, y = blobs()
    constant = small_network().fit(x, y, epochs=4, learning_rate=0.1, schedule="constant")
    stepped = small_network().fit(x, y, epochs=4, learning_rate=0.1, schedule=Step(2, 0.1))
    assert [record.learning_rate for record in stepped.records] == pytest.approx([0.1, 0.1, 0.01, 0.01])
    assert stepped.loss[:2] == constant.loss[:2]
    assert stepped.loss[3] != constant.loss[3]
