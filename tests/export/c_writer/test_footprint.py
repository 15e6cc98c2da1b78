"""The figures that `devices` and `inspect` state for C are those of the generated files."""

import subprocess

import pytest

from edge_runtime.device_profiles.c_footprint import c_code_bytes, c_ram_bytes
from edge_runtime.device_profiles.profiles import weight_bytes
from export.c_writer import c_files
from export.c_writer.calls import calls_of, starts_with_codes
from tests.adversarial import in_int4
from tests.export.c_writer.models import OFFSET_SCHEMA, int8_model
from tests.export.c_writer.test_floats import MODELS
from tests.host_c import compiler

CORTEX_M4 = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-std=c99", "-O2"]
INT8 = {
    "relu": int8_model((784, 64, 10)),
    "tables": int8_model((16, 8, 8, 5), hidden="tanh"),
    "leaky": int8_model((16, 8, 8, 5), hidden="leaky_relu"),
    "remainders": int8_model((13, 9, 7, 5)),
    "names and offsets": int8_model((3, 9, 2), class_names=("x" * 901, "*/ bad"), metadata={"schema": OFFSET_SCHEMA}),
    "deep": int8_model((640, 128, 128, 8, 128, 128, 640)),
}
INT4 = {
    f"{name}, {text}": in_int4(model, every)
    for name, model in INT8.items()
    for text, every in (("int4", 1), ("mixed", 2))
}
ALL = {**INT8, **INT4, **{name: model for name, model in MODELS.items() if "False" not in name}}


@pytest.mark.parametrize("name", ALL)
def test_buffers_are_those_of_the_file(name):
    """Counted without the exporter on a device, and laid out by the exporter."""
    model = ALL[name]
    sizes = calls_of(model).sizes
    codes, values = (sum(sizes.get(buffer, 0) for buffer in pair) for pair in ("ab", "uv"))
    expected = codes + (-codes % 4 if values else 0) + 4 * values + (model.n_in if starts_with_codes(model) else 0)
    assert c_ram_bytes(model) == expected


@pytest.mark.parametrize("name", ALL)
def test_flash_and_ram_are_what_the_compiler_makes(tmp_path, name):
    """For a Cortex-M4 at -O2: RAM to the byte; flash is what is stated, or less by up to 700 bytes."""
    model, command = ALL[name].with_test_vectors(None), compiler("arm-none-eabi-gcc")
    for file, content in c_files(model, "m", logits=True).items():
        (tmp_path / file).write_bytes(content)
    subprocess.run([command, *CORTEX_M4, "-c", tmp_path / "m.c", "-o", tmp_path / "m.o"], check=True)
    shown = subprocess.run(
        [compiler("arm-none-eabi-size"), tmp_path / "m.o"], capture_output=True, text=True, check=True
    )
    text, data, bss = map(int, shown.stdout.splitlines()[1].split()[:3])
    stated = weight_bytes(model) + c_code_bytes(model)
    assert stated - 700 <= text <= stated
    assert 0 <= data + bss - c_ram_bytes(model) <= 3  # between the two arrays
