"""The habits of the house, held by measurement: sizes, floors, words, empty packages."""

import ast
import re
import statistics
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(p for p in (ROOT / "jepad").rglob("*.py") if p.name != "__init__.py")
TREES = {p: ast.parse(p.read_text()) for p in FILES}
FUNCTIONS = [
    (p, node)
    for p, tree in TREES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
]
LENGTHS = sorted(len(p.read_text().splitlines()) for p in FILES)


def _percentile(values, share):
    return sorted(values)[min(int(len(values) * share), len(values) - 1)]


def _body(node):
    """Lines of a function without its docstring."""
    first = node.body[0]
    doc = ast.get_docstring(node, clean=False)
    skip = first.end_lineno - first.lineno + 1 if doc is not None else 0
    return node.end_lineno - node.lineno + 1 - skip


def test_files_are_short():
    assert max(LENGTHS) <= 500
    assert _percentile(LENGTHS, 0.95) <= 400
    assert statistics.median(LENGTHS) <= 170


def test_rooms_stay_surveyable():
    def room(path):
        parts = path.relative_to(ROOT / "jepad").parts
        return "/".join(parts[:-1]) or parts[0]  # a room within a room is a room

    rooms = Counter(room(p) for p in FILES for _ in p.open())
    assert not [f"{room}: {lines}" for room, lines in rooms.items() if lines > 3000]


def test_functions_are_short():
    sizes = [_body(node) for _, node in FUNCTIONS]
    long = [f"{p.name}:{n.name} {_body(n)}" for p, n in FUNCTIONS if _body(n) > 60]
    assert not long
    assert _percentile(sizes, 0.95) <= 40
    assert statistics.median(sizes) <= 10


def test_at_most_five_parameters():
    def count(node):
        a = node.args
        names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
        return len([n for n in names if n not in ("self", "cls")])

    assert not [f"{p}:{n.name}" for p, n in FUNCTIONS if count(n) > 5]


def test_constructors_take_no_kwargs():
    assert not [str(p) for p, n in FUNCTIONS if n.name == "__init__" and n.args.kwarg]


def test_every_file_says_what_it_owns():
    assert not [str(p) for p, tree in TREES.items() if not ast.get_docstring(tree)]


def test_packages_are_empty_and_never_imported_bare():
    for init in (ROOT / "jepad").rglob("__init__.py"):
        assert not init.read_text().strip(), init
    bare = [
        str(p)
        for p, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import) and any(a.name == "jepad" for a in node.names)
    ]
    assert not bare


def test_names_that_say_nothing_are_not_used():
    names = {part for p in FILES for part in p.relative_to(ROOT).with_suffix("").parts}
    refused = {"utils", "util", "common", "helper", "helpers", "handler", "info", "misc"}
    assert not names & (refused | (sys.stdlib_module_names - {"__main__"}))


def test_the_repository_speaks_of_jepad_alone():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    refused = re.compile(r"\.\./shared|/work/|\bissue #?\d|claude|\bsubagent", re.IGNORECASE)
    text = [f for f in listed if not f.endswith((".npz", ".gz", ".onnx", ".safetensors"))]
    found = [
        f"{f}: {m[0]}"
        for f in text
        if f != "tests/test_house.py" and (ROOT / f).is_file()
        for m in refused.finditer((ROOT / f).read_text(errors="replace"))
    ]
    assert not found


def test_floors():
    done = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["jepad.daemon", "jepad.cli.__main__", "jepad.engine.client"])
def test_no_torch_nor_onnxruntime_where_they_do_not_belong(module):
    code = f"import sys, {module}; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"torch", "onnxruntime", "onnx"} & set(done.stdout.split())


def test_documents_name_only_what_is_there():
    missing = []
    for document in ROOT.glob("*.md"):
        text = document.read_text()
        paths = re.findall(r"\]\(([^)#:]+)\)", text)
        paths += re.findall(r"`([a-z]+/[\w./-]+\.[a-z]+)`", text)
        for path in paths:
            near = [ROOT / path, ROOT / "jepad" / path]
            if "NAME" not in path and not any(p.exists() for p in near):
                missing.append(f"{document.name}: {path}")
    assert not missing
