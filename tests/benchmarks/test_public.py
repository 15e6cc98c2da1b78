"""Which files of other repositories count as dense networks, and what is said of them."""

import subprocess

import onnx
import pytest

from benchmarks import public
from tests.export.foreign import graph

CHAIN = "h = Gemm(x, W1, B1) r = Relu(h) y = Gemm(r, W2, B2)"
FILES = {
    "chain": (graph(CHAIN), "read"),
    "noise": (graph(f"{CHAIN} e = RandomNormalLike(y) z = Add(y, e)", target="float[N,3] z"), "read by --output"),
    "two outputs": (graph(CHAIN, target="float[N,3] y, float[N,5] r"), "read by --output"),
    "residual": (graph("h = Gemm(x, W1, B1) r = Gemm(h, W2) a = Relu(r) b = Sigmoid(h) c = Gemm(b, W2) y = Add(a, c)"),
                 "read one branch at a time"),
    "cosh": (graph("h = Gemm(x, W1, B1) r = Cosh(h) y = Gemm(r, W2)"), "refused (Cosh: not supported)"),
    "attention": (graph("t = Transpose(x) y = MatMul(x, t)"), None),
    "convolution": (graph("h = Conv(x, W1) y = Gemm(h, W2, B2)"), None),
    "no weights": (graph("y = Relu(x)"), None),
}  # fmt: skip


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A folder that git knows, of all files, a copy of one, a pointer and a source; and its commit."""
    folder = tmp_path_factory.mktemp("hub") / "owner" / "name"
    (folder / "deep").mkdir(parents=True)
    for name, (proto, _outcome) in FILES.items():
        onnx.save(proto, folder / "deep" / f"{name}.onnx")
    onnx.save(FILES["chain"][0], folder / "copy.onnx")
    (folder / "pointer.onnx").write_text("version https://git-lfs.github.com/spec/v1\n")
    (folder / "source.py").write_text("print()\n")
    who, allow = ["-c", "user.name=a", "-c", "user.email=a@b.c"], ["config", "uploadpack.allowAnySHA1InWant", "true"]
    filtered = ["config", "uploadpack.allowFilter", "true"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "all"], allow, filtered):
        subprocess.run(["git", "-C", str(folder), *command], check=True)
    commit = subprocess.check_output(["git", "-C", str(folder), "rev-parse", "HEAD"], text=True).strip()
    return folder, commit


def test_onnx_files_alone_are_fetched_and_dense_ones_are_tried_once(repository, tmp_path, monkeypatch, capsys):
    """From git, at the commit in the list; what is no dense network is not counted, and a copy of one is not either."""
    folder, commit = repository
    (tmp_path / "list.txt").write_text(f"owner/name {commit}\nowner/other {commit}\n")
    monkeypatch.setattr(public, "LIST", tmp_path / "list.txt")
    arguments = ["--folder", str(tmp_path / "kept"), "--only", "name", "--host", folder.parent.parent.as_uri()]
    for _ in range(2):  # the second time from the folder
        assert public.main(arguments) == 0
        lines = capsys.readouterr().out.splitlines()
        assert [line.partition(": ")[0] for line in lines] == ["owner/name", "all"]
        assert lines[0].partition(": ")[2] == lines[1].partition(": ")[2]
        assert lines[0].startswith("owner/name: 5 dense: 2 read by --output, ")
    kept = {path.name for path in (tmp_path / "kept/owner/name").rglob("*") if ".git" not in path.parts}
    assert kept == {"deep", "copy.onnx", "pointer.onnx", *(f"{name}.onnx" for name in FILES)}


@pytest.mark.parametrize("name", FILES)
def test_each_file_has_its_outcome(repository, name):
    """Read, read by the output that its refusal names, or refused with the operator and the reason."""
    path = repository[0] / "deep" / f"{name}.onnx"
    wanted = FILES[name][1]
    is_dense = path in public.dense_files(path.parent, set())
    assert is_dense == (wanted is not None)
    if wanted is not None:
        assert public.outcome(path) == wanted


def test_a_file_that_gives_other_values_is_no_success(repository, monkeypatch, capsys, tmp_path):
    """It is named, and the status is 1."""

    class Differs:
        ok = False

    folder, commit = repository
    (tmp_path / "list.txt").write_text(f"owner/name {commit}\n")
    monkeypatch.setattr(public, "LIST", tmp_path / "list.txt")
    monkeypatch.setattr(public, "verify_import", lambda *_args, **_options: Differs())
    assert public.main(["--host", folder.parent.parent.as_uri()]) == 1
    assert "WRONG" in capsys.readouterr().out
