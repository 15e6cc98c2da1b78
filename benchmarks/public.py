"""Dense .onnx files of public repositories: how many are imported, and why the others are refused.

Git fetches those of each repository that `public_repositories.txt` names, at the commit there. Dense is what multiplies
by weights, and else works place by place, on whole rows or on shapes. Copies count once. Where a file needs a choice of
outputs, the likeliest that its refusal names is taken.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import onnx

from edge_runtime import ArtifactError
from export import verify_import
from export.onnx_reader import import_onnx

LIST = Path(__file__).with_name("public_repositories.txt")
LARGEST = 4 << 20  # bytes of a file
PRODUCTS = re.compile("MatMul|Gemm$|LinearClassifier|LinearRegressor")
NOT_DENSE = re.compile(  # And: trees as matrices; Cos: equations of physics; Sequence: recurrent cells
    "Conv|Pool|LSTM|GRU|RNN|Tree|SVM|Loop|Scan|Attention|OneHot|String|Token|TfIdf|Resize|Upsample|ND$|TopK|Einsum|FT$|"
    "RoiAlign|NonMax|InstanceNorm|GroupNorm|LRN|^And$|^Cos$"
)
WANTED = ("deterministic", "action", "output", "mean", "logits")  # of several outputs
OUTPUTS = re.compile(r"outputs (.*?) can do|outputs: (.*?); expected one|can be read: (.*?), by --output")


def main(argv: list[str]) -> int:
    """Print a line for each repository, and their sum. 1 if an imported file gives other values than onnxruntime."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks public", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, help="where repositories are kept (default: a temporary folder)")
    parser.add_argument("--only", default="", help="a word in the names of repositories")
    parser.add_argument("--host", default="https://github.com", help="where they are fetched from (%(default)s)")
    options = parser.parse_args(argv)
    total, seen = Counter[str](), set[str]()
    with tempfile.TemporaryDirectory() as temporary:
        for name, commit in (line.split() for line in LIST.read_text(encoding="utf-8").splitlines()):
            if options.only in name:
                folder = (options.folder or Path(temporary)) / name
                fetch(f"{options.host}/{name}", commit, folder)
                found = Counter(map(outcome, dense_files(folder, seen)))
                total += found
                print(f"{name}: {_line(found)}", flush=True)
    print(f"all: {_line(total)}")
    return int(any(text.startswith("WRONG") for text in total))


def _line(found: Counter[str]) -> str:
    return f"{found.total()} dense: " + ", ".join(f"{count} {text}" for text, count in found.most_common())


def fetch(url: str, commit: str, folder: Path) -> None:
    """A repository's .onnx files at a commit, if its folder is not there yet."""
    if folder.exists():
        return
    options = "-c filter.lfs.smudge=cat --depth 1 --filter=blob:none --no-checkout"  # large file storage stays pointers
    subprocess.run(["git", "clone", "-q", *options.split(), url, str(folder)], check=True)
    fetched = f"fetch -q --depth 1 --filter=blob:none origin {commit}"
    for command in ("sparse-checkout set --no-cone *.onnx *.onnx.data", fetched, f"checkout -q {commit}"):
        subprocess.run(["git", "-C", str(folder), *command.split()], check=True)


def dense_files(folder: Path, seen: set[str]) -> Iterator[Path]:
    """The dense files that are not in `seen`, to which the digests of all are added."""
    for path in sorted(folder.rglob("*.onnx")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        if digest not in seen and path.stat().st_size <= LARGEST and _is_dense(path):
            yield path
        seen.add(digest)


def _is_dense(path: Path) -> bool:
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception:  # such as a pointer
        return False
    operators = {node.op_type for part in (proto.graph, *proto.functions) for node in part.node}
    if any(map(NOT_DENSE.search, operators)) or not any(map(PRODUCTS.search, operators)):
        return False
    known = {tensor.name for tensor in proto.graph.initializer}
    for node in proto.graph.node:  # sorted, as the format asks for
        if known.issuperset(filter(None, node.input)):
            known.update(node.output)
    products = [node for node in proto.graph.node if node.op_type in ("Gemm", "MatMul")]
    return all(known.intersection(node.input[:2]) for node in products)  # attention multiplies what it computed


def outcome(path: Path, output: str | None = None) -> str:
    """What became of a file, in some words."""
    try:
        found = import_onnx(path, output=output)
        is_right = verify_import(found.model, path, imported=found).ok
    except ArtifactError as error:
        names = [] if output else _choices(str(error))
        if "comes before" in str(error) and (len(names) > 1 or "residual Add" in str(error)):
            return "read one branch at a time"
        return outcome(path, names[0]) if names else f"refused ({_reason(str(error))})"
    return ("read by --output" if output else "read") if is_right else f"WRONG {path}"


def _choices(message: str) -> list[str]:
    listed = OUTPUTS.search(message)
    names = re.findall(r"'([^']*)' \(n, [\d,]+\)", listed[0]) if listed else []
    return sorted(names, key=lambda name: next((at for at, word in enumerate(WANTED) if word in name.lower()), 9))


def _reason(message: str) -> str:
    node = re.search(r"\(([\w.]+), output '[^']*'\): ([^;]*)", message)
    return f"{node[1]}: {node[2]}"[:90] if node else message.rpartition(".onnx: ")[2][:60]
