import subprocess
import sys

import pytest

from benchmarks.__main__ import names

WITHOUT = "import sys; sys.modules.update(dict.fromkeys(['pytest', 'hypothesis', 'sklearn', 'torch', 'matplotlib'])); "
RUN = "from benchmarks.__main__ import main; sys.exit(main(sys.argv[1:]))"


def run(*arguments):
    """The benchmarks where nothing is installed but what the commands need."""
    return subprocess.run([sys.executable, "-c", WITHOUT + RUN, *arguments], capture_output=True, text=True)


def test_all_are_listed_with_what_they_measure():
    """Without importing them: some need packages of their own."""
    lines = run().stdout.splitlines()
    for name in names():
        assert any(line.split(maxsplit=1)[0] == name and len(line.split()) > 5 for line in lines if line)


@pytest.mark.parametrize("name", names())
def test_each_explains_itself_without_the_tests_packages(name):
    """`--help` is answered, and names the benchmark."""
    result = run(name, "--help")
    assert result.returncode == 0, result.stderr
    assert f"python -m benchmarks {name}" in result.stdout
