"""Every clause of a refusal is tried: what is said to fit is made, loaded and run within the budget."""

import re
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import BudgetExceeded, Engine, Limits, load, save
from edge_runtime.artifact import artifact_bytes, save_bytes
from edge_runtime.held import held_bytes
from edge_runtime.plan_choice import make_plan
from export.quantizer import quantize
from export.test_vectors import with_test_vectors
from tests.networks import random_model, random_rows

NETWORKS = {
    "small": ([64, 32, 10], ["relu", "softmax"]),
    "tables": ([40, 30, 20, 5], ["tanh", "sigmoid", "linear"]),
    "over 2^24": ([3000, 20, 4], ["relu", "tanh"]),
}
PRECISIONS = ("float32", "float16", "int8", "int8-dynamic")


def network(name, precision, vectors=8):
    """(model in one precision, the float32 model it is of)."""
    sizes, activations = NETWORKS[name]
    full = random_model(sizes, activations, standardize=True)
    return converted(full, precision, vectors), full


def converted(full, precision, vectors=8):
    rows = random_rows(100, full.n_in)
    return with_test_vectors(quantize(full, rows, precision, "minmax"), rows, vectors)


def refusal(model, limits):
    with pytest.raises(BudgetExceeded) as caught:
        Engine(model, limits)
    return caught.value


def changed(path, full, precision, change, limits, model=None):
    """The model and the limits after what an alternative names has been done in earnest. model: as it is held now."""
    parts = change.split(", ")
    if change.startswith("max_batch="):
        return model, replace(limits, max_batch=int(change.partition("=")[2]))
    new = [part for part in parts if part in PRECISIONS]
    model = converted(full, new[0] if new else precision, 0 if "no test vectors" in parts else 8)
    assert set(parts) <= {"mmap", "no test vectors", *PRECISIONS}
    save(model, path)
    return load(path, mmap="mmap" in parts), limits


@pytest.mark.parametrize("stored", ["memory", "read", "mmap"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_whatever_is_said_to_fit_does_fit(name, precision, stored, tmp_path):
    """From one byte below the need down to nothing: need and layer are right, each alternative runs in the budget."""
    model, full = network(name, precision)
    if stored != "memory":
        save(model, tmp_path / "m.npz")
        model = load(tmp_path / "m.npz", mmap=stored == "mmap")
    need = refusal(model, Limits(ram_bytes=1)).need_bytes
    assert make_plan(model, Limits(ram_bytes=need)).total_bytes == need
    seen = set()
    for budget in (need - 1, need * 3 // 4, need // 2, need // 4, need // 8, 1):
        limits = Limits(ram_bytes=budget)
        error = refusal(model, limits)
        assert (error.need_bytes, error.have_bytes, error.missing_bytes) == (need, budget, need - budget)
        assert f"needs {need:,} B, the budget is {budget:,} B, missing {need - budget:,} B" in str(error)
        assert error.layer == model.layers[0].name  # the widest of these networks
        assert f"largest layer is '{error.layer}'" in str(error)
        for change, bytes_then in error.alternatives:
            assert f"{change} ({bytes_then:,} B)" in str(error)
            other, its_limits = changed(tmp_path / "other.npz", full, precision, change, limits, model)
            assert Engine(other, its_limits).plan.total_bytes <= budget
            assert refusal(other, replace(its_limits, ram_bytes=1)).need_bytes <= bytes_then <= budget
            seen.add(change)
        if not error.alternatives:
            assert "larger budget" in str(error) or "nothing smaller fits, not even" in str(error)
    if stored == "read":
        assert "mmap" in seen
    if precision == "float32" and stored == "read":
        assert {"float16", "int8"} & seen


def test_where_nothing_smaller_fits_the_message_says_how_close_one_comes(tmp_path):
    """The named bytes are those of the smallest alternative, and that one is refused in fact."""
    model, full = network("small", "float32")
    limits = Limits(ram_bytes=100)
    text = str(refusal(model, limits))
    found = re.search(r"not even ([^(]+) \(([\d,]+) B\): use smaller layers", text)
    assert found is not None, text
    other, its_limits = changed(tmp_path / "o.npz", full, "float32", found[1], limits)
    assert refusal(other, its_limits).need_bytes == pytest.approx(int(found[2].replace(",", "")), rel=0.05)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_artifact_s_size_is_known_without_writing_it(name, precision):
    """Byte for byte, with and without test vectors."""
    for vectors in (0, 8):
        model = network(name, precision, vectors)[0]
        assert artifact_bytes(model) == len(save_bytes(model))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_an_artifact_that_exceeds_the_flash_is_refused_with_what_would_fit(name, precision, tmp_path):
    """One byte too little is refused; every alternative, written in earnest, is a file that fits."""
    model, full = network(name, precision)
    need = artifact_bytes(model)
    Engine(model, Limits(flash_bytes=need))
    for budget in (need - 1, need * 3 // 4, need // 2, need // 3, 100):
        error = refusal(model, Limits(flash_bytes=budget))
        assert (error.need_bytes, error.missing_bytes) == (need, need - budget)
        assert f"the artifact has {need:,} B, the flash is {budget:,} B" in str(error)
        for change, bytes_then in error.alternatives:
            changed(tmp_path / "other.npz", full, precision, change, Limits())
            assert (tmp_path / "other.npz").stat().st_size <= bytes_then <= budget
    assert "no test vectors" in [change for change, _ in refusal(model, Limits(flash_bytes=need - 1)).alternatives]


def test_a_refusal_is_about_the_model_as_it_is_held(tmp_path):
    """A mapped model counts no weights, so that mapping is not offered again."""
    model, _ = network("small", "int8")
    save(model, tmp_path / "m.npz")
    mapped = load(tmp_path / "m.npz", mmap=True)
    assert held_bytes(mapped).allocated == 0
    error = refusal(mapped, Limits(ram_bytes=100))
    assert error.alternatives == ()
    assert str(error).endswith("use smaller layers or a larger budget")
    assert np.isfinite(Engine(mapped, Limits(ram_bytes=error.need_bytes)).run(np.zeros(64))).all()
