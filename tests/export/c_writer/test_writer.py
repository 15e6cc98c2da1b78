import hashlib
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from edge_runtime import Activation, Engine, QuantizationError
from edge_runtime.artifact import save_bytes
from edge_runtime.numerics import DEFINITIONS
from export import quantize, write_c
from export.c_writer import c_files
from tests.adversarial import adversarial_model
from tests.export.c_writer.models import OFFSET, OFFSET_SCHEMA, int8_model
from tests.host_c import WARNINGS, build, c_logits, compiler, hostile_rows, outputs, reference_logits, same_bits
from tests.networks import random_model, random_rows

FINAL = sorted(DEFINITIONS)
HOSTILE_NAMES = ('a"b\\', "*/ int x; /*", "??/", "new\nline", "größe")


@pytest.mark.parametrize("seed", range(8))
def test_c_gives_the_bits_of_the_engine(tmp_path, seed):
    """On ties, saturation, every zero point, NaN and infinities; sizes with every remainder; floats or integers."""
    model = adversarial_model(seed)
    rows = hostile_rows(model, seed=seed)
    expected = reference_logits(model, rows)
    for flags in (["-O2"], ["-O2", "-DM_FLOAT_UNIT=0"]):
        assert same_bits(c_logits(tmp_path, model, rows, *flags), expected), flags


@pytest.mark.parametrize("n_in", range(1, 9))
@pytest.mark.parametrize("n_out", [1, 2, 3, 4, 5, 8])
def test_every_remainder_of_four_is_computed(tmp_path, n_in, n_out):
    """Inputs and outputs that no block of four holds are neither left out nor read twice."""
    model = int8_model((n_in, n_out, 3), vectors=1)
    rows = random_rows(20, n_in, seed=n_out)
    assert same_bits(c_logits(tmp_path, model, rows, "-O1"), reference_logits(model, rows))


@pytest.mark.parametrize("final", FINAL)
def test_the_last_activation_is_the_engine_s(tmp_path, final):
    """Those that are arithmetic have its bits, the others are within their stated error."""
    model = int8_model(final=final)
    rows = random_rows(50, 13)
    found = outputs(build(tmp_path, c_files(model, "m"), "-O2"), rows)
    error = Activation(final).definition.error
    expected = Engine(model).run(rows)
    assert (np.abs(found - expected) <= error * 2 * np.maximum(1, np.abs(expected))).all()


def test_no_math_header_is_needed_without_the_last_activation():
    """`logits` leaves it out; nothing else of the file calls anything."""
    model = int8_model()
    assert b"<math.h>" in c_files(model, "m")["m.c"]
    plain = c_files(model, "m", logits=True)["m.c"]
    assert set(re.findall(rb"#include (.*)", plain)) == {b'"m.h"'}


@pytest.mark.parametrize("hidden", ["relu", "leaky_relu", "tanh"])
@pytest.mark.parametrize(
    ("cc", "standard"), [("gcc", "c99"), ("gcc", "c11"), ("g++", "c++17"), ("clang", "c99"), ("clang++", "c++17")]
)
def test_no_compiler_warns(tmp_path, cc, standard, hidden):
    """C99, C11 and C++17, of gcc and clang, with all that they say of conversions, for each form of the file."""
    model = int8_model(hidden=hidden, class_names=HOSTILE_NAMES)
    suffix = ".cc" if "++" in standard else ".c"
    for name, content in c_files(model, "m").items():
        (tmp_path / name.replace(".c", suffix)).write_bytes(content)
    for flags in (["-O0"], ["-O2", "-DM_SELFTEST"], ["-O3", "-DM_FLOAT_UNIT=0"]):
        command = [compiler(cc), f"-std={standard}", *flags, *WARNINGS, "-c", tmp_path / f"m{suffix}"]
        done = subprocess.run([*command, "-o", tmp_path / "m.o"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_names_are_kept_and_cannot_break_out(tmp_path):
    """Quotes, backslashes, newlines, trigraphs and the ends of comments come out as they went in."""
    model = int8_model(class_names=HOSTILE_NAMES)
    layers = tuple(replace(layer, name=f"*/ #error {index} ??/\n") for index, layer in enumerate(model.layers))
    main = '#include <stdio.h>\n#include "m.h"\nint main(void) { int k; for (k = 0; k < M_N_CLASSES; ++k) '
    main += '{ printf("%s|", m_class_names[k]); } return 0; }\n'
    program = build(tmp_path, c_files(replace(model, layers=layers), "m"), main=main)
    printed = subprocess.run([program], capture_output=True, check=True).stdout.decode()
    assert printed == "".join(f"{name}|" for name in HOSTILE_NAMES)


def test_names_of_inputs_are_those_of_the_table(tmp_path):
    """A model that knows the columns of its table gives their names to C."""
    schema = '{"columns": ["width", {"name": "kind", "categories": ["a", "b"]}]}'
    model = int8_model((3, 4, 2), metadata={"schema": schema})
    text = c_files(model, "m")["m.c"].decode()
    assert all(f'"{name}"' in text for name in ("width", "kind=a", "kind=b"))


def test_offsets_are_said_and_kept_in_double(tmp_path):
    """Values that float32 does not tell apart: the caller subtracts, and the header says so."""
    model = int8_model((3, 4, 2), metadata={"schema": OFFSET_SCHEMA})
    files = c_files(model, "m")
    assert b"x: M_N_IN differences from m_offsets" in files["m.h"]
    assert b"Differences to codes, M_N_IN of each; NaN becomes the lowest." in files["m.h"]
    assert b"differences" not in c_files(int8_model((3, 4, 2)), "m")["m.h"]
    main = '#include <stdio.h>\n#include "m.h"\nint main(void) '
    main += '{ printf("%.17g %g", m_offsets[0], m_offsets[1]); return 0; }\n'
    printed = subprocess.run([build(tmp_path, files, main=main)], capture_output=True, check=True).stdout
    assert list(map(float, printed.split())) == [OFFSET, 0.0]


def test_a_name_too_long_for_c_is_refused():
    """In words, and not by a compiler."""
    model = int8_model((3, 4, 1), class_names=("x" * 1001,))
    with pytest.raises(QuantizationError, match="1,001 bytes, expected at most 1,000"):
        c_files(model, "m")


def test_the_self_test_passes_and_names_the_first_difference(tmp_path):
    """A weight that was changed is found: the row, the layer, the place in it, and by how many steps."""
    model = int8_model(vectors=3)
    contents = c_files(model, "m")
    assert subprocess.run([build(tmp_path, contents, "-DM_SELFTEST")], check=False).returncode == 0
    head, bias = re.search(rb"(m_bias1\[7\] = \{\n    )(-?\d+)", contents["m.c"]).groups()
    contents["m.c"] = contents["m.c"].replace(head + bias, head + str(int(bias) + 3000).encode())
    done = subprocess.run([build(tmp_path, contents, "-DM_SELFTEST")], capture_output=True, text=True, check=False)
    row, layer, index, difference = map(int, done.stdout.split())
    assert done.returncode == 1
    assert (layer, index) == (1, 0)
    assert 0 <= row < 3
    assert difference > 0


def test_the_same_model_gives_the_same_bytes(tmp_path):
    """Twice, and as files; the header says which artifact it is from."""
    model = int8_model()
    assert c_files(model, "m") == c_files(model, "m")
    paths = write_c(model, tmp_path / "new", "ein Größe-1")
    assert [path.name for path in paths] == ["ein_Gro_e_1.c", "ein_Gro_e_1.h"]
    assert hashlib.sha256(save_bytes(model)).hexdigest() in paths[1].read_text()


def test_int8_dynamic_is_refused_in_words():
    """With the reason and what to do."""
    model = quantize(random_model((4, 3), ["relu"]), random_rows(20, 4), "int8-dynamic")
    with pytest.raises(QuantizationError, match="int8-dynamic is not written as C: its grids hang on the rows"):
        c_files(model, "m")


def test_predict_takes_the_first_of_the_largest(tmp_path):
    """As the engine does; of one output, whether it is above 0."""
    main = '#include <stdio.h>\n#include "m.h"\nint main(void) { static float x[M_N_IN]; '
    main += "while (fread(x, sizeof(float), M_N_IN, stdin) == M_N_IN) "
    main += '{ printf("%d ", (int)m_predict(x)); } return 0; }\n'
    for sizes in ((13, 9, 5), (13, 9, 1)):
        model = int8_model(sizes, final="sigmoid")
        rows = random_rows(60, 13)
        program = build(tmp_path, c_files(model, "m"), main=main)
        printed = subprocess.run([program], input=rows.tobytes(), capture_output=True, check=True).stdout
        assert list(map(int, printed.split())) == Engine(model).predict(rows).tolist()
