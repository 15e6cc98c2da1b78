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
from edge_runtime.engine.refusal import EXPORTED_ROWS, in_options
from edge_runtime.errors import Alternative
from export.quantization.quantizer import quantize
from export.quantization.test_rows import with_test_vectors
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
    if precision == "float32" and stored == "read":
        assert {"float16", "int8"} & seen


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


@pytest.mark.parametrize("vectors", [0, 8])
@pytest.mark.parametrize("precision", ["float16", "int8"])
@pytest.mark.parametrize("name", ["small", "tables"])  # sums that may need float64 are planned as if they did
def test_what_another_precision_needs_is_known_before_it_is_made(name, precision, vectors, tmp_path):
    """float16 to the byte, so that the very size that is named fits; int8 but for the letters of its grids' numbers."""
    model, full = network(name, "float32", vectors)
    save(model, tmp_path / "m.npz")
    model = load(tmp_path / "m.npz")
    save(converted(full, precision, vectors), tmp_path / "small.npz")
    small = load(tmp_path / "small.npz")
    need = refusal(small, Limits(ram_bytes=1)).need_bytes
    size = (tmp_path / "small.npz").stat().st_size
    for limits, real in (
        (Limits(ram_bytes=need + 256), need),
        (Limits(flash_bytes=size + 256), size),
    ):
        named = dict(refusal(model, limits).alternatives)[precision]
        assert real <= named <= real + (0 if precision == "float16" else 256)
    if precision == "float16":
        assert precision in dict(refusal(model, Limits(ram_bytes=need)).alternatives)
        assert precision in dict(refusal(model, Limits(flash_bytes=size)).alternatives)


@pytest.mark.parametrize("weights", ["normal", "all alike"])
@pytest.mark.parametrize("inputs", ["of both signs", "pixels"])
def test_int8_is_never_said_to_need_less_than_it_does_where_many_inputs_are_summed(weights, inputs, tmp_path):
    """Weights all alike, on a grid that begins at 0, need float64 sums; ordinary ones are known to the byte."""
    full = random_model([784, 64, 10], ["relu", "softmax"])
    first, rows = full.layers[0], random_rows(100, 784)
    if weights == "all alike":
        full = replace(full, layers=(replace(first, weight=np.full_like(first.weight, 0.03)), full.layers[1]))
    save(full, tmp_path / "m.npz")
    save(quantize(full, np.abs(rows) if inputs == "pixels" else rows, "int8", "minmax"), tmp_path / "small.npz")
    error, need = (refusal(load(tmp_path / name), Limits(ram_bytes=1)) for name in ("m.npz", "small.npz"))
    named, real = dict(error.beyond)["int8"], need.need_bytes
    assert named == real or (weights == "all alike" and inputs == "of both signs" and named > real)


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


SAID = {
    "mmap": "--mmap",
    "max_batch=4": "--max-batch 4",
    "mmap, max_batch=4": "--mmap --max-batch 4",
    "no test vectors": "export --precision float32 --test-vectors 0",
    "float16": "export --precision float16",
    "int8, no test vectors": "export --precision int8 --calibrate DATA --test-vectors 0",
    "int8, mmap": "export --precision int8 --calibrate DATA, then --mmap",
}
IN_A_BUNDLE = {
    "max_batch=4": "--max-batch 4",
    "no test vectors": "export --precision float32 --test-vectors 0, then bundle",
    "float16": "export --precision float16, then bundle",
    "int8, no test vectors": "export --precision int8 --calibrate DATA --test-vectors 0, then bundle",
}


def error_of(*changes, precision="float32", test_rows=EXPORTED_ROWS):
    alternatives = tuple(Alternative(change, 10) for change in changes)
    return BudgetExceeded(
        "too large", have_bytes=10, layer="a", alternatives=alternatives, precision=precision, test_rows=test_rows
    )


@pytest.mark.parametrize("change", SAID)
def test_on_the_command_line_each_change_is_said_by_its_options(change):
    """As they can be typed; a bundle, which cannot map its weights, speaks of bundling what is exported anew."""
    error = error_of(change)
    assert str(error) == f"too large; what would fit: {change} (10 B)"
    assert in_options(error) == f"too large; what would fit: {SAID[change]} (10 B)"
    bundled = f"what would fit: {IN_A_BUNDLE[change]} (10 B)" if change in IN_A_BUNDLE else "use smaller layers or"
    assert in_options(error, is_bundle=True).startswith(f"too large; {bundled}")


OF_OTHER_MODELS = {
    ("float32", 0, "float16"): "export --precision float16 --test-vectors 0",
    ("float16", 3, "int8"): "export --precision int8 --calibrate DATA --test-vectors 3",
    ("float16", 8, "no test vectors"): "export --precision float16 --test-vectors 0",
    ("int8-dynamic", 8, "int8"): "export --precision int8 --calibrate DATA of the float32 model",
    ("int8-dynamic", 8, "no test vectors"): "export --precision int8-dynamic --test-vectors 0 of the float32 model",
    ("mixed", 8, "no test vectors"): "no test vectors",
}


@pytest.mark.parametrize(("precision", "test_rows", "change"), OF_OTHER_MODELS)
def test_the_options_make_what_was_planned_of_any_model(precision, test_rows, change):
    """As many test vectors as the model has, its own precision where that stays; int8 is made of float layers."""
    said = OF_OTHER_MODELS[precision, test_rows, change]
    assert f"fit: {said} (10 B)" in in_options(error_of(change, precision=precision, test_rows=test_rows))


def test_a_bundle_is_told_what_comes_closest_without_mapping(tmp_path):
    """Mapping would fit and comes closest; a bundle cannot, so the smallest of the other changes is named."""
    save(network("small", "float32")[0], tmp_path / "m.npz")
    for budget, start in ((1024, "what would fit: --mmap ("), (1, "nothing smaller fits, --mmap would need ")):
        error = refusal(load(tmp_path / "m.npz"), Limits(ram_bytes=budget))
        assert start in in_options(error)
        need = dict(error.beyond)["int8"]
        said = f"nothing smaller fits, export --precision int8 --calibrate DATA, then bundle would need {need:,} B"
        assert said in in_options(error, is_bundle=True)


@pytest.mark.parametrize("stored", ["read", "mmap"])
@pytest.mark.parametrize("precision", ["float32", "float16", "int8-dynamic"])
def test_the_layer_that_is_named_is_the_one_that_needs_the_most_alone(precision, stored, tmp_path):
    """Read, the one with the most weights; mapped, where no weights count, the one with the widest rows."""
    full = random_model([60, 100, 4, 100], ["relu", "relu", "gelu"])
    model = quantize(full, random_rows(20, 60), precision)
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
    if sizes == [1, 1] and limit == "flash_bytes":
        assert "int8" not in {option.change for option in options}
        assert artifact_bytes(converted(model, "int8", 0)) > error.need_bytes


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
