"""Write the shell completions of jepactl from its own parser: `make completions`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import shtab

from jepad.cli.options import ACTIONS, DOMAINS, MODEL_ACTIONS, parser

TARGET = Path(__file__).parent / "completions"
FILES = {"bash": "jepactl.bash", "zsh": "_jepactl"}
#: Streams and units are asked for when Tab is pressed: they are not the same on every machine.
PREAMBLE = {
    "bash": """
_jepactl_streams() {
  compgen -W "$(jepactl streams --names 2>/dev/null)" -- "$1"
}
_jepactl_units() {
  compgen -W "$(jepactl what-if --units 2>/dev/null)" -- "$1"
}
_jepactl_models() {
  compgen -W "$(jepactl model list 2>/dev/null | awk 'NR > 1 { print $1 }') toy" -- "$1"
}
_jepactl_model_actions() {
  compgen -W "MODEL_ACTS" -- "$1"
}
_jepactl_model_subjects() {
  _jepactl_models "$1"
  compgen -f -- "$1"
}
_jepactl_domains() {
  compgen -W "DOMAINS" -- "$1"
}
_jepactl_actions() {
  compgen -W "ACTIONS" -- "$1"
}
""",
    "zsh": """
_jepactl_streams() {
  local -a names
  names=(${(f)"$(jepactl streams --names 2>/dev/null)"})
  _describe stream names
}
_jepactl_units() {
  local -a names
  names=(${(f)"$(jepactl what-if --units 2>/dev/null)"})
  compadd -a names
}
_jepactl_models() {
  local -a names
  names=(${(f)"$(jepactl model list 2>/dev/null | awk 'NR > 1 { print $1 }')"} toy)
  compadd -a names
}
_jepactl_model_actions() {
  local -a names
  names=(MODEL_ACTS)
  _describe action names
}
_jepactl_model_subjects() {
  _jepactl_models
  _files
}
_jepactl_domains() {
  local -a names
  names=(DOMAINS)
  _describe domain names
}
_jepactl_actions() {
  local -a names
  names=(ACTIONS)
  _describe action names
}
""",
}
WORDS = {"DOMAINS": DOMAINS, "ACTIONS": ACTIONS, "MODEL_ACTS": MODEL_ACTIONS}
#: By verb and argument where only one verb means this by it, else by argument.
WAYS = {
    "model action": {"bash": "_jepactl_model_actions", "zsh": "_jepactl_model_actions"},
    "model subject": {"bash": "_jepactl_model_subjects", "zsh": "_jepactl_model_subjects"},
    "model": {"bash": "_jepactl_models", "zsh": "_jepactl_models"},
    "video": shtab.FILE,
    "goal": shtab.FILE,
    "start": shtab.FILE,
    "out": shtab.FILE,
    "action": {"bash": "_jepactl_actions", "zsh": "_jepactl_actions"},
    "unit": {"bash": "_jepactl_units", "zsh": "_jepactl_units"},
    "stream": {"bash": "_jepactl_streams", "zsh": "_jepactl_streams"},
    "domain": {"bash": "_jepactl_domains", "zsh": "_jepactl_domains"},
    "file": shtab.FILE,
}


def text(shell: str) -> str:
    """The completion script for one shell."""
    out = parser()
    for verb, action in _arguments(out):
        way = WAYS.get(f"{verb} {action.dest}", WAYS.get(action.dest))
        if way is not None:
            action.complete = way  # type: ignore[attr-defined]
        if not action.option_strings:
            action.choices = None
    preamble = dict(PREAMBLE)
    for name, words in WORDS.items():
        preamble = {k: v.replace(name, " ".join(words)) for k, v in preamble.items()}
    return str(shtab.complete(out, shell, preamble=preamble))


def _arguments(
    out: argparse.ArgumentParser, verb: str = ""
) -> Iterator[tuple[str, argparse.Action]]:
    """The arguments of all verbs, each with its verb, and the flags that take a value."""
    for action in out._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield from _arguments(sub, name)
        elif action.nargs != 0:
            yield verb, action


def main() -> int:
    """Write them all."""
    TARGET.mkdir(exist_ok=True)
    for shell, name in FILES.items():
        (TARGET / name).write_text(text(shell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
