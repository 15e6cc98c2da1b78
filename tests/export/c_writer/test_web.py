"""WebAssembly of the same C, run by wasmtime, and the page around it. Both need packages of the extra interop."""

import base64
import re
import subprocess

import numpy as np
import pytest

from edge_runtime import Engine, QuantizationError
from export.c_writer import format_files, web
from tests.export.c_writer.models import OFFSET, OFFSET_SCHEMA, int8_model
from tests.host_c import compiler, reference_logits, same_bits
from tests.networks import random_rows

MODEL = int8_model((64, 16, 10), class_names=(*"01234567", "</script>", '"'))


@pytest.fixture(scope="module")
def wasmtime():
    """The package; a test is skipped, and says so, where it or ziglang is missing."""
    pytest.importorskip("ziglang")
    return pytest.importorskip("wasmtime")


@pytest.fixture(scope="module")
def page(wasmtime):
    """The page of a model."""
    (content,) = format_files("html", MODEL, "m").values()
    return content.decode()


def answers(wasmtime, module, rows):
    """(outputs, classes) that a module of bytes gives for float32 rows. It imports nothing."""
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    exports = wasmtime.Instance(store, wasmtime.Module(engine, module), []).exports(store)
    memory, x, y = exports["memory"], exports["input"](store), exports["output"](store)
    outputs, classes = [], []
    for row in rows:
        memory.write(store, row.tobytes(), x)
        exports["run"](store)
        outputs.append(np.frombuffer(memory.read(store, y, y + 4 * MODEL.n_out), np.float32))
        classes.append(exports["predict"](store))
    return np.array(outputs), classes


def test_webassembly_gives_the_same_bits(wasmtime):
    """Of the logits; the classes are the engine's."""
    rows = random_rows(50, 64, seed=4)
    outputs, classes = answers(wasmtime, web.wasm_module(MODEL, logits=True), rows)
    assert same_bits(outputs, reference_logits(MODEL, rows))
    assert classes == Engine(MODEL).predict(rows).tolist()


def test_the_page_holds_the_model_and_loads_nothing(wasmtime, page):
    """What is in it answers as the engine does, its softmax too."""
    rows = random_rows(20, 64)
    outputs, _classes = answers(wasmtime, base64.b64decode(re.search(r'atob\("([^"]+)"\)', page)[1]), rows)
    assert np.abs(outputs - Engine(MODEL).run(rows)).max() <= 2e-6
    assert not re.search(r"\b(src|href|fetch|import|XMLHttpRequest|http)\b", page)


def test_names_cannot_end_the_page_s_script(page):
    """A class may be called as it likes."""
    assert page.count("</script>") == 1
    assert "\\u003c/script\\u003e" in page


def test_a_square_of_inputs_is_drawn(page):
    """64 inputs are 8 x 8 cells; of other widths there is no canvas."""
    assert "SIDE = 8," in page
    assert "<canvas" in page


def test_a_table_s_columns_are_typed(wasmtime):
    """Nothing to draw on, and the same answers."""
    (content,) = format_files("html", int8_model((5, 8, 2)), "m").values()
    assert b"<canvas" not in content


def test_a_missing_compiler_is_said(monkeypatch):
    """With what to install."""
    monkeypatch.setattr(web.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(QuantizationError, match=r"ziglang not found, .* pip install ziglang"):
        web.wasm_module(MODEL)


def test_a_page_takes_offsets_from_what_is_typed(wasmtime):
    """The page names its inputs in their order, holds their offsets, and begins with a row that is them."""
    model = int8_model((3, 8, 2), metadata={"schema": OFFSET_SCHEMA})
    (content,) = format_files("html", model, "m").values()
    page = content.decode()
    assert f"const OFFSETS = [{OFFSET}, 0.0, 0.0];" in page
    assert "in this order: time, &lt;width&gt;, height:" in page
    assert "values.map((value, k) => value - (OFFSETS[k] ?? 0))" in page


def test_offsets_are_taken_off_in_a_browser(wasmtime, tmp_path):
    """Headless Chromium shows for the offsets what the network gives for zeros; skipped where there is none."""
    model = int8_model((3, 8, 2), metadata={"schema": OFFSET_SCHEMA})
    (content,) = format_files("html", model, "m").values()
    (tmp_path / "m.html").write_bytes(content)
    shown = _shown(tmp_path / "m.html")
    found = [float(text) for text in re.findall(r"<td>([0-9.e-]+)</td><td><div", shown)]
    assert np.abs(np.array(found) - Engine(model).run(np.zeros(3, np.float32))).max() < 1e-3


def test_the_page_runs_in_a_browser(wasmtime, page, tmp_path):
    """Headless Chromium draws a stroke and shows an answer; skipped where there is none."""
    stroke = """
    for (const [type, x, y] of [["pointerdown", 140, 40], ["pointermove", 140, 240]]) {
      const box = pad.getBoundingClientRect();
      pad.dispatchEvent(new PointerEvent(type, { clientX: box.left + x, clientY: box.top + y, buttons: 1 }));
    }
    """
    (tmp_path / "m.html").write_text(page.replace("</script>", f"{stroke}</script>"))
    shown = _shown(tmp_path / "m.html")
    assert re.search(r'<b id="answer">answer: .', shown)
    assert shown.count("<tr>") == 10


def _shown(path):
    """What a browser makes of a page."""
    command = [compiler("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={path.parent / 'profile'}", path.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
