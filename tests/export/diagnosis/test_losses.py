"""What is worth a remedy, and in which words figures are said."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from export.diagnosis.answers import Answers, WorstOutput
from export.diagnosis.losses import (
    decibels,
    doubt,
    figures,
    gained,
    is_as_good,
    is_lost,
    is_within_chance,
    loses_score,
    order,
)


def classes(changed, db, right=None, rows=1000):
    """Of a classifier."""
    return Answers(rows, db, changed, right)


FLOAT, LABELLED = classes(0, math.inf), classes(0, math.inf, 950)
TARGETS = Answers(1000, 40.0, even_db=30.0)
VALUES = Answers(1000, math.inf, None, None, 0.1, 0.95)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (FLOAT, classes(10, 20.0), False),  # one in a hundred
        (FLOAT, classes(11, 20.0), True),  # as export doubts
        (FLOAT, classes(50, 25.0), False),  # ties, beside a loud signal
        (FLOAT, classes(51, 60.0), True),
        (FLOAT, classes(64, 24.0), True),
        (FLOAT, classes(0, 19.0), True),  # export doubts it whatever is decided
        (LABELLED, classes(30, 30.0, 945), False),  # half a point
        (LABELLED, classes(5, 30.0, 944), True),
        (LABELLED, classes(49, 40.0, 936), False),  # as chance makes of 49 changes
        (LABELLED, classes(49, 40.0, 935), True),
        (LABELLED, classes(72, 15.2, 940), True),  # within chance, and export doubts it
        (FLOAT, replace(classes(2, 40.0), gone=("class 1 (all 2 rows)",)), True),
        (classes(0, math.inf, 1000), classes(11, 30.0, 990), True),  # a float network that is right on all rows
        (Answers(1000, math.inf), Answers(1000, 21.0), False),
        (Answers(1000, math.inf), Answers(1000, 19.0), True),
        (VALUES, Answers(1000, 30.0, None, None, 0.1, 0.945), False),
        (VALUES, Answers(1000, 30.0, None, None, 0.2, 0.935), True),
        (TARGETS, replace(TARGETS, worst=WorstOutput("output 1", 21.0)), False),
        (TARGETS, replace(TARGETS, worst=WorstOutput("output 1", 19.0)), True),  # one is lost beside others
        (TARGETS, replace(TARGETS, even_db=19.0), True),
    ],
)
def test_what_is_lost(before, after, expected):
    """By right answers, changed decisions or R^2, each beyond chance and ties."""
    assert is_lost(before, after, "int8") == expected


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (LABELLED, classes(49, 40.0, 935), "accuracy falls by 1.5 points"),
        (VALUES, Answers(1000, 30.0, None, None, 0.2, 0.935), "R^2 falls by 0.0150"),
        (FLOAT, classes(64, 24.0), "64 of 1,000 decisions change, expected at most 10"),
        (FLOAT, classes(64, 26.0), "64 of 1,000 decisions change, expected at most 50"),
        (FLOAT, replace(classes(2, 40.0), gone=("class 1 (all 2 rows)",)), "class 1 (all 2 rows) is lost whole"),
        (FLOAT, classes(0, 17.4), "17.4 dB are left at the outputs, expected at least 20"),
        (
            TARGETS,
            replace(TARGETS, worst=WorstOutput("output 1", 19.0)),
            "19.0 dB are left of output 1, expected at least 20",
        ),
        (FLOAT, classes(0, 24.0), None),
    ],
)
def test_the_figure_that_makes_it_doubted_is_said(before, after, text):
    """The first one; none where nothing is lost."""
    assert doubt(before, after, "int8") == text


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (LABELLED, classes(100, 9.0, 945), True),
        (LABELLED, classes(100, 9.0, 944), False),  # more than half a point, chance or not
        (VALUES, Answers(1000, 9.0, None, None, 0.1, 0.945), True),
        (VALUES, Answers(1000, 9.0, None, None, 0.1, 0.935), False),
        (VALUES, Answers(1000, 9.0, None, None, 0.1, 0.95, 9.0, WorstOutput("output 1", 9.0, 0.9, 0.8)), False),
        (VALUES, Answers(1000, 9.0, None, None, 0.1, 0.95, 9.0, WorstOutput("output 1", 9.0, 0.9, 0.9)), True),
        (LABELLED, replace(classes(2, 40.0, 950), gone=("class 1",)), False),
        (FLOAT, classes(0, 60.0), False),  # no labels count anything
    ],
)
def test_labels_alone_say_whether_a_network_of_its_own_is_as_good(before, after, expected):
    """Whatever its decibels are."""
    assert is_as_good(before, after) == expected


@pytest.mark.parametrize(
    ("small", "other", "expected"),
    [
        (classes(9, 9.0, 900), classes(0, 60.0, 899), True),
        (classes(9, 9.0, 900), classes(0, 60.0, 900), False),
        (replace(VALUES, r2=0.9628), replace(VALUES, r2=0.9548), True),
        (replace(VALUES, r2=0.96281), replace(VALUES, r2=0.96278), False),  # the same in four digits
        (replace(VALUES, r2=0.9628), replace(VALUES, r2=math.nan), True),
        (replace(VALUES, r2=math.nan), VALUES, False),
        (FLOAT, classes(90, 9.0), False),
    ],
)
def test_a_lower_score_is_known_by_labels_alone(small, other, expected):
    """Right answers, or R^2 in the digits that are said."""
    assert loses_score(small, other) == expected


def test_a_precision_is_held_to_what_it_gives_at_least():
    """30 dB are fine for int8 and a fault for float16."""
    assert not is_lost(Answers(9, math.inf), Answers(9, 30.0), "int8")
    assert is_lost(Answers(9, math.inf), Answers(9, 30.0), "float16")


def test_the_order_is_of_answers_and_then_of_decibels():
    """Right ones if they are known, else those that stay; of values decibels alone."""
    assert order(classes(9, 20.0, 940)) > order(classes(1, 30.0, 939))
    assert order(classes(1, 20.0)) > order(classes(2, 30.0))
    assert order(classes(1, 21.0)) > order(classes(1, 20.0))
    assert order(Answers(9, 21.0)) > order(Answers(9, 20.0))


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (FLOAT, classes(1, 30.0), "1 decision of 1,000, 30.0 dB at the outputs"),
        (
            LABELLED,
            classes(12, 30.0, 945),
            "5 decisions of 1,000, within chance (accuracy 0.9500 -> 0.9450; 12 changed (1.2%, ties beside so loud a "
            "signal), +-7 by chance), 30.0 dB at the outputs",
        ),
        (
            LABELLED,
            classes(9, 30.0, 951),
            "0 decisions of 1,000 (accuracy 0.9500 -> 0.9510; 9 changed, +-6 by chance), 30.0 dB at the outputs",
        ),
        (
            LABELLED,
            classes(72, 15.2, 940),
            "10 decisions of 1,000, within chance (accuracy 0.9500 -> 0.9400; 72 changed (7.2%), +-17 by chance), "
            "15.2 dB at the outputs, expected at least 20",
        ),
        (
            LABELLED,
            classes(28, 26.3, 922),
            "28 decisions of 1,000 (accuracy 0.9500 -> 0.9220; 28 changed (2.8%), +-11 by chance), 26.3 dB at the "
            "outputs",
        ),
        (
            FLOAT,
            replace(classes(2, 40.0), gone=("class 1 (all 2 rows)",)),
            "2 decisions of 1,000, 40.0 dB at the outputs, lost whole: class 1 (all 2 rows)",
        ),
        (FLOAT, classes(30, 22.0), "30 decisions of 1,000 (3.0%), 22.0 dB at the outputs"),
        (
            replace(VALUES, even_db=math.inf),
            Answers(9, 33.0, None, None, 0.1, 0.4, 4.8, WorstOutput("output 1 'strain'", -1.2, 0.98, -0.77)),
            "R^2 0.9500 -> 0.4000, the most at output 1 'strain' (R^2 0.9800 -> -0.7700, -1.2 dB), 4.8 dB at the "
            "outputs, each target counting alike, expected at least 20",
        ),
        (VALUES, Answers(1000, 30.0, None, None, 0.1, 0.94), "R^2 0.9500 -> 0.9400, 30.0 dB at the outputs"),
        (Answers(9, math.inf), Answers(9, math.inf), "no error at the outputs"),
    ],
)  # fmt: skip
def test_figures_in_words(before, after, text):
    """More right answers than before are no loss."""
    assert figures(before, after, "int8") == text


@pytest.mark.parametrize(
    ("small", "mended", "text"),
    [
        (classes(30, 12.0), classes(2, 30.0), "wins 28 of 30 decisions back (30.0 dB)"),
        (
            classes(30, 12.0),
            classes(30, 30.0),
            "wins none of 30 decisions back (30.0 dB in place of 12.0 dB)",
        ),
        (classes(30, 12.0), classes(31, 30.0), "changes 1 more decision (30.0 dB in place of 12.0 dB)"),
        (classes(0, 5.5), classes(2, 46.6), "changes 2 more decisions (46.6 dB in place of 5.5 dB)"),
        (classes(0, 5.5), classes(0, 46.6), "gives 46.6 dB in place of 5.5 dB"),
        (
            classes(30, 12.0, 900),
            classes(2, 30.0, 948),
            "wins 48 right answers back (accuracy 0.9000 -> 0.9480, 30.0 dB)",
        ),
        (
            classes(30, 12.0, 900),
            classes(2, 30.0, 900),
            "wins no right answers back (accuracy 0.9000 -> 0.9000, 30.0 dB in place of 12.0 dB)",
        ),
        (
            classes(30, 12.0, 900),
            classes(2, 30.0, 895),
            "loses 5 right answers (accuracy 0.9000 -> 0.8950, 30.0 dB in place of 12.0 dB)",
        ),
        (
            classes(30, 12.0, 900),
            classes(2, 30.0, 899),
            "loses 1 right answer (accuracy 0.9000 -> 0.8990, 30.0 dB in place of 12.0 dB)",
        ),
        (Answers(9, 12.0), Answers(9, 30.0), "gives 30.0 dB in place of 12.0 dB"),
        (
            Answers(9, 12.0, None, None, 0.3, 0.5),
            Answers(9, 30.0, None, None, 0.1, 0.9),
            "gives 30.0 dB in place of 12.0 dB, R^2 0.5000 -> 0.9000",
        ),
    ],
)  # fmt: skip
def test_gains_in_words(small, mended, text):
    """None is said as none, and a loss as a loss."""
    assert gained(small, mended) == text


def test_decibels_in_words():
    """What no number says."""
    assert [decibels(value) for value in (3.14159, -0.01, math.inf, -math.inf)] == [
        "3.1 dB",
        "0.0 dB",
        "no error",
        "no signal",
    ]


def test_a_class_that_is_lost_whole_is_not_within_chance():
    """However few rows it has."""
    few = classes(2, 40.0, 949)
    assert is_within_chance(LABELLED, few)
    assert not is_within_chance(LABELLED, replace(few, gone=("class 1 (all 2 rows)",)))
