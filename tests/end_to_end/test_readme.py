import contextlib
import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
# pages whose examples run after one another in one folder
PAGES = (
    "README.md",
    "trainer/README.md",
    "trainer/data/README.md",
    "edge_runtime/artifact/FORMAT.md",
    "edge_runtime/engine/README.md",
    "edge_runtime/native/README.md",
    "export/onnx_writer/README.md",
    "export/onnx_reader/README.md",
    "export/diagnosis/README.md",
    "export/quantization/README.md",
)
PACKAGES = ("trainer", "export", "edge_runtime", "tests", "benchmarks")
EVERY_PAGE = [
    "README.md",
    *sorted(str(page.relative_to(ROOT)) for name in PACKAGES for page in (ROOT / name).rglob("*.md")),
]
BLOCK = re.compile(r"(?:<!-- (?P<mark>[a-z0-9 ]+) -->\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL)
BLOCKS = [match.groupdict() for page in PAGES for match in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))]
LINK = re.compile(r"\]\(([^)#]+)\)")


def run_shell(code: str, cwd: Path, **variables: str) -> str:
    """Run a block as `bash -e` would, with this environment's commands first on the path."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, **variables}
    result = subprocess.run(["bash", "-e", "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """Every shell and Python block but the two installing ones, as a reader would paste them one after the other.

    Those that need another library are run where it is installed. The marks of the blocks that were run.
    """
    folder = tmp_path_factory.mktemp("readme")
    scope: dict[str, object] = {}
    ran = []
    with _inside(folder):
        for block in BLOCKS:
            needed = (block["mark"] or "").removeprefix("needs ") if _needs(block) else None
            if block["mark"] in ("install", "tests") or (needed and not importlib.util.find_spec(needed)):
                continue
            if block["language"] == "sh":
                run_shell(block["code"], folder)
            elif block["language"] == "python":
                with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
                    if needed:  # exporters warn about themselves
                        warnings.simplefilter("ignore")
                    exec(compile(block["code"], "README.md", "exec"), scope)
            else:
                assert block["language"] == "text"
                continue
            ran.append(block["mark"])
    return ran


def _needs(block) -> bool:
    return (block["mark"] or "").startswith("needs ")


@contextlib.contextmanager
def _inside(folder: Path):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def test_the_examples_run_in_order_in_one_folder(examples):
    """All blocks that need nothing but this package and its extras."""
    assert examples.count(None) >= 6


@pytest.mark.parametrize("library", sorted({block["mark"].removeprefix("needs ") for block in BLOCKS if _needs(block)}))
def test_the_examples_for_another_library_run_where_it_is_installed(examples, library):
    """Bring your own model, from each of them."""
    pytest.importorskip(library, reason=f"{library} is not installed")
    assert f"needs {library}" in examples


@pytest.mark.parametrize("page", EVERY_PAGE)
def test_pages_are_narrow_and_their_links_lead_somewhere(page):
    """No line over 120 columns, and no link to a file that is not there."""
    text = (ROOT / page).read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 120
    for target in LINK.findall(text):
        assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_readme_stays_short():
    """What is not for first use stands beside the code."""
    assert len(README.splitlines()) <= 190


def test_the_installing_command_works_in_a_copy(tmp_path):
    """The first command, in a copy of the files that git would track: an empty environment, then the demo's table."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: there is no list of the files to copy")
    for name in filter(None, listed.stdout.split("\0")):
        target = tmp_path / "copy" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, target)
    (tmp_path / "home").mkdir()
    code = next(block["code"] for block in BLOCKS if block["mark"] == "install")
    out = run_shell(code, tmp_path / "copy")
    assert re.search(r"^next: \S*smallnet inspect ", out, re.MULTILINE)


def test_the_test_command_is_the_one_that_ci_runs():
    """The second command would run this test again; `.ci/run` takes it from the README and runs it as it stands."""
    code = next(block["code"] for block in BLOCKS if block["mark"] == "tests")
    printed = subprocess.check_output([sys.executable, ".ci/readme_block.py", "tests"], cwd=ROOT, text=True)
    assert printed.strip() == code.strip()
    assert 'eval "$(python3 .ci/readme_block.py tests)"' in (ROOT / ".ci" / "run").read_text()


def test_the_printed_lines_are_those_of_the_training(tmp_path):
    """What `train` says of the README's own table, as far as it does not hang on sums of floats."""
    printed = next(block["code"] for block in BLOCKS if block["mark"] == "train output")
    code = next(block["code"] for block in BLOCKS if "train --data motor.csv" in block["code"])
    assert printed in run_shell(code[: code.index("smallnet export")], tmp_path)


def test_the_printed_table_is_that_of_the_demo(tmp_path):
    """Sizes, accuracies and comparisons in the README are those that the demo prints here; times are not compared."""
    printed = next(block["code"] for block in BLOCKS if block["mark"] == "demo output")
    out = run_shell(f"smallnet demo --out {tmp_path}/demo", tmp_path)
    expected = [line.split() for line in printed.splitlines()]
    found = [line.split() for line in out.splitlines()[: len(expected)]]
    assert found[:2] == expected[:2]
    assert [line[:-2] for line in found[2:]] == [line[:-2] for line in expected[2:]]  # the last two are the times
