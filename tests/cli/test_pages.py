"""Man pages and completions know every verb, flag and setting, and nothing that is gone."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from jepad.__main__ import parser as daemon_parser
from jepad.cli.options import VERBS, parser
from jepad.config import settings

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "man").glob("*.[158]"))
KINDS = {
    "bool": "boolean",
    "float": "number",
    "int": "integer",
    "str": "string",
    "tuple": "list of strings",
}


def page(name):
    return (ROOT / "man" / name).read_text()


def subparsers(of):
    return next(a.choices for a in of._actions if isinstance(a.choices, dict))


def long_flags(of):
    return {f for a in of._actions for f in a.option_strings if f.startswith("--")}


def section(text, start):
    """From a line on to the next verb or section."""
    body = text[text.index(start) + len(start) :]
    verbs = "|".join(verb.name for verb in VERBS)
    return re.split(rf"\n\.It Cm (?:{verbs})\b|\n\.Sh ", body)[0]


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.name)
def test_mandoc_has_no_complaint(path):
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", path], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("verb", [v.name for v in VERBS])
def test_a_verb_and_its_flags_are_in_its_page(verb):
    text = section(page("jepactl.1"), f".It Cm {verb}")
    shared = {"--help", "--json", "--session", "--system"}
    here = {f"--{name}" for name in re.findall(r"\.It Fl -([a-z0-9-]+)", text)}
    assert here == long_flags(subparsers(parser())[verb]) - shared


def test_shared_flags_are_in_the_page():
    before = page("jepactl.1").split(".Sh VERBS")[0]
    here = {f"--{name}" for name in re.findall(r"\.It Fl -([a-z0-9-]+)", before)}
    assert here == long_flags(parser())


def test_every_verb_that_speaks_json_has_its_shape_in_the_page():
    shapes = page("jepactl.1").split(".Sh JSON")[1].split(".Sh ")[0]
    assert re.findall(r"\.It Cm ([a-z-]+)", shapes) == [v.name for v in VERBS]


def test_the_flags_of_the_daemon_are_in_its_page():
    here = {f"--{name}" for name in re.findall(r"\.It Fl -([a-z0-9-]+)", page("jepad.8"))}
    assert here == long_flags(daemon_parser())


def entry(path, kind, default, text):
    """A setting as its page has it."""
    value = json.dumps(list(default) if isinstance(default, tuple) else default)
    value = value.replace('"', r"\(dq")
    return (
        f".It Cm {path.split('.')[1]} Pq {KINDS[kind]}, Li {value}\n{text[0].upper()}{text[1:]}.\n"
    )


def test_settings_are_in_their_page_in_order():
    text = page("jepad.toml.5")
    sections = list(dict.fromkeys(path.split(".")[0] for path, *_ in settings()))
    assert re.findall(r"^\.Ss \[(\w+)\]", text, re.M) == sections
    for name in sections:
        body = text.split(f".Ss [{name}]\n")[1].split(".El\n")[0]
        wanted = [entry(*s) for s in settings() if s[0].startswith(f"{name}.")]
        assert body == ".Bl -tag -width Ds\n" + "".join(wanted)


def generator():
    spec = importlib.util.spec_from_file_location("completions", ROOT / "packaging/completions.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completions_are_those_the_parser_gives(shell):
    made = generator()
    committed = (made.TARGET / made.FILES[shell]).read_text()
    assert committed == made.text(shell), "run: make completions"
    for verb, sub in subparsers(parser()).items():
        assert verb in committed
        assert all(flag in committed for flag in long_flags(sub))


def complete(*words):
    """What bash offers for the last word."""
    script = f"""
    source {ROOT}/packaging/completions/jepactl.bash
    COMP_WORDS=({" ".join(f"'{w}'" for w in words)}); COMP_CWORD={len(words) - 1}
    COMP_LINE="${{COMP_WORDS[*]}}"; COMP_POINT=${{#COMP_LINE}}
    _shtab_jepactl jepactl '{words[-1]}' '{words[-2]}'
    echo "${{COMPREPLY[@]}}"
    """
    assert shutil.which("bash")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_verbs_flags_and_domains():
    assert complete("jepactl", "st") == ["status", "streams"]
    assert complete("jepactl", "predict", "--ho") == ["--horizon"]
    assert complete("jepactl", "predict", "me") == ["memory"]
    assert complete("jepactl", "read", "--format", "c") == ["csv"]
    assert complete("jepactl", "what-if", "fr") == ["freeze"]
    assert complete("jepactl", "what-if", "--st") == ["--steps"]
