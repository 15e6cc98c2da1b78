import subprocess

import numpy as np
import pytest

from edge_runtime import Engine
from export import write_c
from export.c_writer import c_files
from export.c_writer.layouts import LAYOUTS
from tests.export.c_writer.models import OFFSET, OFFSET_SCHEMA, int8_model
from tests.host_c import WARNINGS, compiler
from tests.networks import random_rows

MODEL = int8_model(class_names=("a", "b", "c", "d", "*/"))
WITH_OFFSETS = int8_model((3, 8, 2), metadata={"schema": OFFSET_SCHEMA})
_ARDUINO = """
#include <stdint.h>
struct Port {
    void begin(long) {}
    void print(const char *) {}
    void println(double, int) {}
};
static Port Serial;
static void delay(unsigned long) {}
void setup();
void loop();
"""


def make(folder, *targets):
    command = ["make", f"CC={compiler()}", "-C", folder, *targets]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["main", "MAIN", "stdio", "math"])
def test_no_file_takes_the_place_of_another(name, layout):
    """Of main.c in a project, on disks that tell no capitals apart too; nor of a header that others include."""
    files = c_files(MODEL, name, layout=layout)
    assert len({file.lower() for file in files}) == len(LAYOUTS[layout])
    assert not any(file.lower().endswith(f"/{name.lower()}.h") for file in map("/{}".format, files))


def test_a_project_builds_checks_itself_and_answers_rows(tmp_path):
    """`make check` runs the stored rows; the program takes rows of text, of commas or spaces."""
    compiler("make")
    folder = write_c(MODEL, tmp_path, "m", layout="c-project")[0].parent
    assert "\nok\n" in make(folder, "check")
    rows = random_rows(5, 13)
    text = "\n".join(",".join(f"{value:.9g}" for value in row) for row in rows)
    for form in (text, text.replace(",", " "), f"\n{text}\n\n"):
        done = subprocess.run([folder / "m"], input=form, capture_output=True, text=True, check=True)
        found = np.array([line.split(",") for line in done.stdout.splitlines()], np.float64)
        assert np.abs(found - Engine(MODEL).run(rows)).max() < 2e-6


@pytest.mark.parametrize("text", ["1,2,3", "1,2,x", "a"])
def test_a_project_says_what_is_no_row(tmp_path, text):
    """Exit status 2, and no answer is made up."""
    compiler("make")
    folder = write_c(MODEL, tmp_path, "m", layout="c-project")[0].parent
    make(folder)
    done = subprocess.run([folder / "m"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "something else than numbers" in done.stderr


def test_a_project_without_vectors_builds_too(tmp_path):
    """Its self-test says why there is none."""
    compiler("make")
    folder = write_c(MODEL.with_test_vectors(None), tmp_path, "m", layout="c-project")[0].parent
    make(folder)
    done = subprocess.run([folder / "m", "--selftest"], capture_output=True, text=True, check=False)
    assert (done.returncode, "without test vectors" in done.stderr) == (2, True)


def test_a_project_takes_offsets_from_raw_rows(tmp_path):
    """The program reads what the table holds, which float32 does not tell apart, and subtracts in double."""
    compiler("make")
    folder = write_c(WITH_OFFSETS, tmp_path, "m", layout="c-project")[0].parent
    make(folder)
    offsets = np.array([OFFSET, 0.0, 0.0])
    raw = random_rows(20, 3) + offsets
    text = "\n".join(",".join(f"{value:.17g}" for value in row) for row in raw)
    done = subprocess.run([folder / "m"], input=text, capture_output=True, text=True, check=True)
    found = np.array([line.split(",") for line in done.stdout.splitlines()], np.float64)
    assert np.abs(found - Engine(WITH_OFFSETS).run(raw - offsets)).max() < 2e-6


@pytest.mark.parametrize("model", [MODEL, WITH_OFFSETS], ids=["raw", "offsets"])
def test_an_arduino_library_compiles_as_old_toolchains_do(tmp_path, model):
    """The C with -std=c99, the example as C++ beside a stand-in for the board's core; the names are the library's."""
    write_c(model, tmp_path, "m", layout="arduino")
    library = tmp_path / "m"
    properties = dict(line.split("=", 1) for line in (library / "library.properties").read_text().splitlines()[1:])
    assert properties["name"] == "m"
    assert properties["includes"] == "m.h"
    assert (library / "src" / properties["includes"]).is_file()
    example = library / "examples" / "m_example" / "m_example.ino"
    main = tmp_path / "main.cpp"
    main.write_text(f'{_ARDUINO}\n#include "{example}"\nint main() {{ setup(); loop(); return 0; }}\n')
    subprocess.run(
        [compiler(), "-std=c99", "-Os", *WARNINGS, "-c", library / "src" / "m.c", "-o", tmp_path / "m.o"], check=True
    )
    command = [
        compiler("g++"),
        "-std=gnu++11",
        f"-I{library / 'src'}",
        main,
        tmp_path / "m.o",
        "-o",
        tmp_path / "m.bin",
    ]
    subprocess.run([*command, "-lm"], check=True)
    subprocess.run([tmp_path / "m.bin"], check=True)


def test_the_arduino_example_takes_offsets_from_the_sensors_values(tmp_path):
    """Raw values are put in as doubles, and their differences go to the network."""
    files = c_files(WITH_OFFSETS, "m", layout="arduino")
    example = files["m/examples/m_example/m_example.ino"].decode()
    main = f"{_ARDUINO}\n#include <stdio.h>\n{example}\nint main() {{ values[0] = {OFFSET + 0.5}; loop(); "
    main += 'printf("%g %g %g", x[0], x[1], x[2]); return 0; }\n'
    write_c(WITH_OFFSETS, tmp_path, "m", layout="arduino")
    source = tmp_path / "main.cpp"
    source.write_text(main)
    library = tmp_path / "m" / "src"
    subprocess.run([compiler(), "-std=c99", "-c", library / "m.c", "-o", tmp_path / "m.o"], check=True)
    command = [compiler("g++"), f"-I{library}", source, tmp_path / "m.o", "-o", tmp_path / "m.bin", "-lm"]
    subprocess.run(command, check=True)
    assert subprocess.run([tmp_path / "m.bin"], capture_output=True, check=True).stdout == b"0.5 0 0"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_file_says_who_wrote_it(layout):
    """So that it may be replaced without --force, and nobody else's."""
    for name, content in c_files(MODEL, "m", layout=layout).items():
        assert b"ritten by smallnet" in content[:4096], name
