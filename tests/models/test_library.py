"""The library holds whole models or none, and names what is wrong with one."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from jepad.errors import ModelError, NotFound, SettingError
from jepad.models import library

WORDS = {"encoder.int8.onnx": b"graph", "weights.safetensors": b"weights"}


def manifest(name="small", **changes):
    files = {n: hashlib.sha256(b).hexdigest() for n, b in WORDS.items()}
    made = library.Manifest(
        name=name, version="2.0", shapes={"encoder": {"width": 64}},
        source={"path": "/x.pt", "sha256": "0" * 64, "scheme": "meta"}, files=files,
        precisions=("int8",), resident_bytes={"int8": 5},
    )  # fmt: skip
    return replace(made, **changes)


def fill(directory, made):
    for name, words in WORDS.items():
        with open(os.path.join(directory, name), "wb") as f:
            f.write(words)
    library.write(directory, made)


def put(root, made):
    with library.installing(str(root), made.name) as directory:
        fill(directory, made)


def test_what_was_installed_is_found_again(tmp_path):
    put(tmp_path, manifest(story={"bounds": [1, 2.5]}, gate={"int8": {"pooled": 0.999}}))
    found = library.find(str(tmp_path), "small")
    assert found.manifest == manifest(story={"bounds": [1, 2.5]}, gate={"int8": {"pooled": 0.999}})
    assert found.graph("encoder", "int8") == str(tmp_path / "small" / "encoder.int8.onnx")
    assert found.path("weights.safetensors").endswith("small/weights.safetensors")
    assert "small" in [m.manifest.name for m in library.installed(str(tmp_path))]
    library.verify(found)
    assert oct(os.stat(tmp_path / "small").st_mode & 0o777) == "0o755"


def test_the_digest_is_of_the_files_and_of_nothing_else():
    assert manifest().digest == manifest(name="other", licence="MIT").digest
    table = "".join(f"{hashlib.sha256(WORDS[n]).hexdigest()}  {n}\n" for n in sorted(WORDS))
    assert manifest().digest == hashlib.sha256(table.encode()).hexdigest()
    changed = {**manifest().files, "encoder.int8.onnx": "1" * 64}
    assert manifest(files=changed).digest != manifest().digest


def test_what_a_model_lacks_is_named(tmp_path):
    put(tmp_path, manifest())
    found = library.find(str(tmp_path), "small")
    with pytest.raises(NotFound, match=r"no encoder in fp32.*has: int8.*--precision fp32"):
        found.graph("encoder", "fp32")
    with pytest.raises(NotFound, match="has no action"):
        found.graph("action", "int8")
    with pytest.raises(NotFound, match="passwd"):
        found.path("../../etc/passwd")
    with pytest.raises(NotFound, match=r"installed: small.*jepactl model import"):
        library.find(str(tmp_path), "other")


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "x" * 65, "with space", "-x"])
def test_a_name_is_a_directory_of_the_library_or_refused(tmp_path, name):
    with pytest.raises(SettingError, match="model name"):
        library.find(str(tmp_path), name)


def test_verify_reports_progress_and_names_the_changed_file(tmp_path):
    put(tmp_path, manifest())
    found = library.find(str(tmp_path), "small")
    told = []
    library.verify(found, lambda *step: told.append(step))
    assert told[-1] == ("hash", 12, 12)
    path = tmp_path / "small" / "weights.safetensors"
    path.write_bytes(b"weightz")
    with pytest.raises(ModelError) as error:
        library.verify(found)
    for part in (str(path), manifest().files[path.name], "import the model again"):
        assert part in str(error.value)
    path.unlink()
    with pytest.raises(ModelError, match=r"weights\.safetensors: can't be read"):
        library.verify(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no manifest"),
        ("{", "no manifest"),
        ("[]", "no manifest"),
        ("{}", "no manifest"),
        ('{"files": 3}', "no manifest"),
        ("\xff", "no manifest"),
        ({"files": {"../../etc/passwd": "0"}}, "leaves its directory"),
        ({"files": {"..": "0"}}, "leaves its directory"),
        ({"files": {}}, "no encoder or no files"),
        ({"shapes": {}}, "no encoder or no files"),
        ({"format": 2}, "format 2"),
    ],
)
def test_a_broken_manifest_is_named_and_hides_nothing_else(tmp_path, text, words):
    put(tmp_path, manifest())
    put(tmp_path, manifest("good"))
    path = tmp_path / "small" / library.MANIFEST
    if isinstance(text, dict):
        text = json.dumps(json.loads(path.read_text()) | text)
    path.write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match=words) as error:
        library.find(str(tmp_path), "small")
    assert str(path) in str(error.value)
    assert [m.manifest.name for m in library.installed(str(tmp_path)) if m.manifest.name != "toy"] == ["good"]  # fmt: skip  # noqa: E501
    assert list(library.broken(str(tmp_path))) == ["small"]


def test_a_failed_installation_leaves_the_library_as_it_was(tmp_path):
    put(tmp_path, manifest())
    stray = manifest("next", shapes={})
    with pytest.raises(ModelError), library.installing(str(tmp_path), "next") as directory:
        fill(directory, stray)
    with pytest.raises(ModelError), library.installing(str(tmp_path), "next"):
        pass  # no manifest was written
    assert os.listdir(tmp_path) == ["small"]


def test_a_model_is_replaced_only_when_told(tmp_path):
    put(tmp_path, manifest())
    with pytest.raises(SettingError, match="installed already"):
        put(tmp_path, manifest())
    with library.installing(str(tmp_path), "small", replace=True) as directory:
        fill(directory, manifest(licence="MIT"))
    assert library.find(str(tmp_path), "small").manifest.licence == "MIT"
    assert os.listdir(tmp_path) == ["small"]


@pytest.mark.parametrize("kind", ["documents", "empty", "file", "link"])
def test_what_is_no_model_is_never_replaced(tmp_path, kind):
    there = tmp_path / "small"
    if kind in ("documents", "empty"):
        there.mkdir()
    if kind == "documents":
        (there / "letter.txt").write_text("dear")
    if kind == "file":
        there.write_text("dear")
    if kind == "link":
        there.symlink_to(tmp_path / "nowhere")
    with (
        pytest.raises(SettingError, match=r"small: no model \(it has no manifest\.json\)"),
        library.installing(str(tmp_path), "small", replace=True),
    ):
        pytest.fail("began")
    assert os.listdir(tmp_path) == ["small"]
    assert kind != "documents" or (there / "letter.txt").read_text() == "dear"


def fill_beside_a_letter(directory, root):
    fill(directory, manifest())
    (root / "small").mkdir()
    (root / "small" / "letter.txt").write_text("dear")


def test_what_is_no_model_is_kept_if_it_came_meanwhile(tmp_path):
    with (
        pytest.raises(SettingError, match="no model"),
        library.installing(str(tmp_path), "small", replace=True) as directory,
    ):
        fill_beside_a_letter(directory, tmp_path)
    assert os.listdir(tmp_path) == ["small"]
    assert os.listdir(tmp_path / "small") == ["letter.txt"]


def test_a_damaged_model_is_replaced(tmp_path):
    put(tmp_path, manifest())
    (tmp_path / "small" / library.MANIFEST).write_text("{")
    with library.installing(str(tmp_path), "small", replace=True) as directory:
        fill(directory, manifest())
    assert library.find(str(tmp_path), "small").manifest == manifest()


def race(directory, root):
    fill(directory, manifest())
    put(root, manifest(licence="MIT"))


def test_the_first_of_two_at_once_wins(tmp_path):
    with (
        pytest.raises(SettingError, match="meanwhile"),
        library.installing(str(tmp_path), "small") as directory,
    ):
        race(directory, tmp_path)
    assert library.find(str(tmp_path), "small").manifest.licence == "MIT"
    assert os.listdir(tmp_path) == ["small"]


def test_a_killed_installation_leaves_nothing_half_there(tmp_path):
    put(tmp_path, manifest())
    code = (
        "import sys\nfrom jepad.models import library\n"
        "with library.installing(sys.argv[1], 'next') as d:\n"
        "    open(d + '/weights.safetensors', 'w').write('half'); print('in', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"in\n"
    assert [m.manifest.name for m in library.installed(str(tmp_path)) if m.manifest.name != "toy"] == ["small"]  # fmt: skip  # noqa: E501
    assert not library.broken(str(tmp_path))
    child.send_signal(signal.SIGKILL)
    child.wait(10)
    child.stdin.close()
    child.stdout.close()
    assert len(os.listdir(tmp_path)) == 2
    put(tmp_path, manifest("next"))
    assert sorted(os.listdir(tmp_path)) == ["next", "small"]


def test_a_model_is_removed_whole(tmp_path):
    put(tmp_path, manifest())
    library.remove(str(tmp_path), "small")
    assert os.listdir(tmp_path) == []
    with pytest.raises(NotFound):
        library.remove(str(tmp_path), "small")


def test_a_damaged_toy_hides_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped" / library.MANIFEST).write_text("{")
    monkeypatch.setattr(library, "shipped", lambda: str(tmp_path / "shipped"))
    put(tmp_path / "models", manifest())
    root = str(tmp_path / "models")
    assert [m.manifest.name for m in library.installed(root)] == ["small"]
    assert list(library.broken(root)) == ["toy"]
    with pytest.raises(ModelError):
        library.find(root, "toy")
    put(tmp_path / "models", manifest("toy"))
    assert library.find(root, "toy").manifest.name == "toy"
    assert not library.broken(root)


def test_no_library_is_an_empty_one(tmp_path):
    assert not library.broken(str(tmp_path / "none"))
    with pytest.raises(NotFound, match="installed: none"):
        library.find(str(tmp_path / "none"), "vitl-256")


def test_a_library_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ModelError, match="can't keep models here"),
        library.installing(str(tmp_path / "file" / "models"), "x"),
    ):
        pass
