"""Every clause of a refusal is tried: what is said to fit is made, loaded and run within the budget."""

import contextlib
import re
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import BudgetExceeded, Engine, Limits, load, save
from edge_runtime.artifact.artifact import artifact_bytes, save_bytes
from edge_runtime.engine import plan as planner
from edge_runtime.engine.budget import make_plan
from edge_runtime.engine.model_bytes import held_bytes
from edge_runtime.engine.plan import Drafts
from edge_runtime.engine.plan_choice import TILES, _tiles
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
from tests.networks import random_model, random_rows

NETWORKS = {
    "small": ([64, 32, 10], ["relu", "softmax"]),
    "tables": ([40, 30, 20, 5], ["tanh", "sigmoid", "linear"]),
    "over 2^24": ([3000, 20, 4], ["relu", "tanh"]),
}
PRECISIONS = ("float32", "float16", "int8", "int4", "int8-dynamic")


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


def share(error):
    """The bytes that are said of the layer that is named."""
    found = re.search(
        rf"largest layer is '{error.layer}' with (?:([\d,]+) B of \S+ weights and )?([\d,]+) B to run;", str(error)
    )
    return sum(int(number.replace(",", "")) for number in found.groups("0"))


def changed(path, full, precision, change, limits, model=None):
    """The model and the limits after what an alternative names has been done in earnest. model: as it is held now."""
    parts = change.split(", ")
    if "max_batch=" in change:
        limits = replace(limits, max_batch=int(parts.pop().partition("=")[2]))
        if not parts:
            return model, limits
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
        assert 0 < share(error) <= need
        for change, bytes_then in error.alternatives:
            assert f"{change} ({bytes_then:,} B)" in str(error)
            other, its_limits = changed(tmp_path / "other.npz", full, precision, change, limits, model)
            assert Engine(other, its_limits).plan.total_bytes <= budget
            assert refusal(other, replace(its_limits, ram_bytes=1)).need_bytes <= bytes_then <= budget
            seen.add(change)
        if not error.alternatives:
            assert "larger budget" in str(error) or "nothing smaller fits, " in str(error)
    if stored == "read":
        assert "mmap" in seen


def test_where_nothing_smaller_fits_the_message_says_how_close_one_comes(tmp_path):
    """The named bytes are those of the smallest alternative, and that one is refused in fact."""
    model, full = network("small", "float32")
    limits = Limits(ram_bytes=100)
    text = str(refusal(model, limits))
    found = re.search(r"nothing smaller fits, (.+) would need ([\d,]+) B: use smaller layers", text)
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
def test_an_artifact_that_exceeds_the_flash_is_refused(name, precision):
    """One byte too little is refused."""
    model, _full = network(name, precision)
    need = artifact_bytes(model)
    Engine(model, Limits(flash_bytes=need))
    for budget in (need - 1, need * 3 // 4, need // 2, need // 3, 100):
        error = refusal(model, Limits(flash_bytes=budget))
        assert (error.need_bytes, error.missing_bytes) == (need, need - budget)
        assert f"the artifact has {need:,} B, the flash is {budget:,} B" in str(error)
        assert error.alternatives == error.beyond == ()  # nothing that an engine could do makes a file smaller
        assert str(error).endswith("use smaller layers or a larger budget")
        assert (error.model, error.limits.flash_bytes) == (model, budget)


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


def test_a_dynamic_model_that_even_mapped_needs_a_smaller_batch_is_told_so(tmp_path):
    """Mapping and the largest batch that fits then, together."""
    model, _ = network("small", "int8-dynamic")
    save(model, tmp_path / "m.npz")
    error = refusal(load(tmp_path / "m.npz"), Limits(ram_bytes=2048))
    found = [change for change, _ in error.alternatives if "max_batch=" in change]
    assert found == ["mmap, max_batch=2"]
    mapped = load(tmp_path / "m.npz", mmap=True)
    assert Engine(mapped, Limits(ram_bytes=2048, max_batch=2)).plan.total_bytes <= 2048
    assert refusal(mapped, Limits(ram_bytes=1, max_batch=2)).need_bytes == dict(error.alternatives)[found[0]]
    assert refusal(mapped, Limits(ram_bytes=2048, max_batch=4))


@pytest.mark.parametrize("stored", ["read", "mmap"])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8-dynamic"])
def test_the_layer_that_is_named_is_the_one_that_needs_the_most_alone(precision, stored, tmp_path):
    """Read, the one with the most weights; mapped, where no weights count, the one with the widest rows."""
    full = random_model([60, 100, 4, 100], ["relu", "relu", "gelu"])
    model = quantize(full, random_rows(20, 60), precision, test_vectors=0)
    names, limits = [layer.name for layer in model.layers], Limits(ram_bytes=1, max_batch=2)
    needs = {}
    for name, layers in [("all", model.layers), *((layer.name, (layer,)) for layer in model.layers)]:
        save(replace(model, layers=layers), tmp_path / f"{name}.npz")
        error = refusal(load(tmp_path / f"{name}.npz", mmap=stored == "mmap"), limits)
        needs[name] = error.need_bytes
        if name == "all":
            named, text = error.layer, str(error)
    assert named == max(names, key=lambda name: needs[name]) == ("dense2" if stored == "mmap" else "dense0")
    assert f"'{named}' with " in text
    assert (f" of {precision} weights and " in text) == (stored == "read")


def test_of_int8_layers_too_the_widest_is_named_where_no_weights_count(tmp_path):
    """What is summed in float64 and looked up in tables counts as the plan does."""
    full = random_model([200, 200, 4, 300, 2], ["relu", "relu", "tanh", "linear"])
    save(quantize(full, random_rows(50, 200), "int8", "minmax"), tmp_path / "m.npz")
    assert refusal(load(tmp_path / "m.npz"), Limits(ram_bytes=1)).layer == "dense0"
    error = refusal(load(tmp_path / "m.npz", mmap=True), Limits(ram_bytes=1))
    assert error.layer == "dense2"  # 300 values, their places in a table, and the table
    assert error.need_bytes / 2 < share(error) <= error.need_bytes


def work_of_a_plan(monkeypatch, model, ram_bytes):
    """(plans laid, layers planned) when an engine is made or refused within so many bytes."""
    counts = {"plans": 0, "layers": 0}
    lay, step = planner.Drafts.lay, planner._step

    def counted_lay(*arguments):
        counts["plans"] += 1
        return lay(*arguments)

    def counted_step(*arguments):
        counts["layers"] += 1
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(planner.Drafts, "lay", counted_lay)
        patch.setattr(planner, "_step", counted_step)
        with contextlib.suppress(BudgetExceeded):
            Engine(model, Limits(ram_bytes=ram_bytes))
    return counts["plans"], counts["layers"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_work_of_a_refusal_grows_as_the_layers_do(monkeypatch, precision):
    """One plan for each layer alone and some of the whole; each layer is looked at some times, of however many."""
    for count in (20, 200):
        model = converted(random_model([2] * (count + 1), ["tanh"] * (count - 1) + ["linear"]), precision, 0)
        plans, layers = work_of_a_plan(monkeypatch, model, 100)
        assert plans <= count + 80
        assert layers <= 100 * count


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_work_of_a_plan_within_a_budget_grows_as_the_layers_do(monkeypatch, precision):
    """However many plans are compared, a layer's share in them is found out once with and once without its copy."""
    for count in (20, 200):
        model = converted(random_model([2] * (count + 1), ["tanh"] * (count - 1) + ["linear"]), precision, 0)
        free, least = Engine(model).plan.total_bytes, make_plan(model, Limits(ram_bytes=10**9)).weight_bytes
        plans, layers = work_of_a_plan(monkeypatch, model, (free + least) // 2)
        assert plans <= 9 * 3 * (2 + count.bit_length())
        assert layers <= 20 * count


def test_tiles_that_are_alike_are_planned_once():
    """A tile that holds the largest matrix makes the same plan as every larger one."""
    tiny, large = (quantize(random_model([n, n], ["linear"]), random_rows(20, n), "int8", "minmax") for n in (2, 512))
    assert _tiles(tiny) == (512, 1)
    assert _tiles(large) == TILES
    for model in (tiny, large):
        chosen = [Drafts(model).lay(8, frozenset([0]), tile) for tile in _tiles(model)]
        assert all(Drafts(model).lay(8, frozenset([0]), tile) in chosen for tile in TILES)


@pytest.mark.parametrize("sizes", [[1, 1], [2, 3, 1], [40, 30, 5]])
@pytest.mark.parametrize("limit", ["ram_bytes", "flash_bytes"])
def test_nothing_is_advised_that_needs_as_much_as_now(sizes, limit):
    """The smallest networks take more bytes in int8, with its longer header: such a change is no advice."""
    model = random_model(sizes, ["relu"] * (len(sizes) - 2) + ["linear"])
    error = refusal(model, Limits(**{limit: 1}))
    options = (*error.alternatives, *error.beyond)
    assert all(option.need_bytes < error.need_bytes for option in options)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_fits_and_what_does_not_are_two_lists(precision):
    """To the byte, over budgets between nothing and the need: an alternative at the budget itself fits."""
    model, _full = network("small", precision)
    need = refusal(model, Limits(ram_bytes=1)).need_bytes
    needs = {option.need_bytes for option in refusal(model, Limits(ram_bytes=1)).beyond}
    for have in sorted({*needs, *(value - 1 for value in needs), 1}):
        if have >= need:
            continue
        error = refusal(model, Limits(ram_bytes=have))
        assert all(option.need_bytes <= have for option in error.alternatives)
        assert all(option.need_bytes > have for option in error.beyond)
