"""The command line: one table of verbs drives parser, help, completion and the man page's test.

Owns: verbs, flags, examples, words for usage errors. Does not know what a verb does.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from jepad.cli.suggest import did_you_mean

DOMAINS = ("cpu", "memory", "io", "network", "disk", "thermal", "power", "gpu")
#: What the daemon knows to ask its model; a test holds it equal to heads/guesses.py.
ACTIONS = ("memory.high", "memory.low", "cpu.weight", "freeze", "thaw", "drop_caches")
MODEL_ACTIONS = ("list", "show", "import", "verify", "remove")
SIZES = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
Parser = argparse.ArgumentParser


def duration(text: str) -> float:
    """Seconds of `30`, `500ms`, `30s`, `1m`, `2h`."""
    number = text.rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text[len(number) :] or "s"
    try:
        seconds = float(number) * UNITS[unit]
    except (ValueError, KeyError):
        seconds = -1.0
    if not 0 < seconds < 366 * 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 30s, 1m or 2h")
    return seconds


def amount(text: str) -> float:
    """A number, or bytes as in `512M`, `1.5GiB`."""
    size = text.lower().removesuffix("b").removesuffix("i")
    number = size.rstrip("kmgt")
    try:
        value = float(number) * 2.0 ** SIZES[size[len(number) :]]
    except (ValueError, KeyError):
        value = float("nan")
    if not abs(value) < 2.0**64:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount; write 100, 512M or 1.5G")
    return value


def count(text: str) -> int:
    """A number from 1."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def _predict(verb: Parser) -> None:
    verb.add_argument("domain", nargs="?", metavar="DOMAIN", help=_domain_help())
    verb.add_argument(
        "--horizon", type=duration, default=60.0, metavar="TIME", help="how far ahead (1m)"
    )


def _what_if(verb: Parser) -> None:
    verb.add_argument("action", nargs="?", metavar="ACTION", help=", ".join(ACTIONS))
    verb.add_argument("unit", nargs="?", metavar="UNIT", help="the group that --units lists")
    verb.add_argument(
        "value", nargs="?", type=amount, metavar="VALUE", help="bytes, as in 512M, or a weight"
    )
    verb.add_argument(
        "--then",
        action="append",
        metavar="STEP",
        help="TIME:ACTION[=VALUE][@UNIT], so long after the one before; may be repeated",
    )
    verb.add_argument(
        "--series", metavar="PATTERN", help="a domain or pattern; else what clearly changes"
    )
    verb.add_argument(
        "--horizon", type=duration, default=60.0, metavar="TIME", help="how far ahead (1m)"
    )
    verb.add_argument("--steps", action="store_true", help="each moment on the way")
    verb.add_argument("--units", action="store_true", help="list the groups, one a line, and end")


def _watch(verb: Parser) -> None:
    verb.add_argument("domain", nargs="?", metavar="DOMAIN", choices=[None, *DOMAINS],
                      help="tell of this domain only")  # fmt: skip
    verb.add_argument("--seconds", type=duration, metavar="TIME", help="end after this long")


def _top(verb: Parser) -> None:
    verb.add_argument("--once", action="store_true", help="print one picture and end")
    verb.add_argument("--series", metavar="PATTERN", help="only series like this, as in psi.*")
    verb.add_argument(
        "--interval", type=duration, default=1.0, metavar="TIME", help="between pictures (1s)"
    )


def _read(verb: Parser) -> None:
    verb.add_argument("stream", metavar="STREAM", help="a name that `jepactl streams` lists")
    verb.add_argument("--count", type=count, default=1, metavar="N", help="newest records (1)")
    verb.add_argument("--follow", action="store_true", help="go on with each new record")
    verb.add_argument("--series", metavar="PATTERN", help="only series like this, as in psi.*")
    verb.add_argument("--format", choices=["table", "csv", "json"], help="table is the default")


def _record(verb: Parser) -> None:
    verb.add_argument("file", metavar="FILE", help="to write: .csv, or .csv.gz")
    verb.add_argument(
        "--seconds", type=duration, metavar="TIME", help="how long; else until Ctrl-C"
    )
    verb.add_argument("--force", action="store_true", help="overwrite FILE")


def _streams(verb: Parser) -> None:
    verb.add_argument("--names", action="store_true", help="names only, one a line")


def _model(verb: Parser) -> None:
    words = f"{', '.join(MODEL_ACTIONS)}; else the card of the machine's model"
    verb.add_argument("action", nargs="?", metavar="ACTION", help=words)
    words = "a model's name (machine: the machine's), or the checkpoint to import"
    verb.add_argument("subject", nargs="?", metavar="NAME", help=words)
    verb.add_argument("--name", metavar="NAME", help="import: under this name")
    verb.add_argument("--precision", metavar="LIST", help="import: int8, fp32 or both (int8)")
    verb.add_argument("--preset", metavar="PRESET", help="import: which model it is, as vitg-384")
    verb.add_argument("--licence", metavar="TEXT", help="import: of the weights, to be recorded")
    verb.add_argument("--key", metavar="KEY", help="import: which encoder of a pickle")
    verb.add_argument("--sha256", metavar="HEX", help="import: refuse a file of another digest")
    verb.add_argument("--probe-of", metavar="NAME", help="import: a probe of an installed model")
    verb.add_argument("--heads", type=count, metavar="N", help="import: of the probe (16)")
    verb.add_argument("--force", action="store_true", help="import: replace one of that name")
    verb.add_argument("--ungated", action="store_true",
                      help="import: though a precision misses its accuracy gate")  # fmt: skip


def _embed(verb: Parser) -> None:
    verb.add_argument("video", metavar="VIDEO", help="a video file, or a picture")
    verb.add_argument("--model", metavar="NAME", help="one that `jepactl model list` lists")
    verb.add_argument("--every", type=duration, default=0.25, metavar="TIME",
                      help="between two frames (250ms)")  # fmt: skip
    verb.add_argument("--window", type=count, metavar="N", help="frames in one; else the model's")
    verb.add_argument("--tokens", action="store_true", help="keep all tokens, not their mean")
    verb.add_argument("--classes", action="store_true", help="the five most probable classes")
    verb.add_argument("--labels", metavar="FILE", help="what they are called, a line a class")
    verb.add_argument("--out", metavar="FILE", help="write the embeddings to FILE, a .npy")


def _plan(verb: Parser) -> None:
    verb.add_argument("--goal", metavar="IMAGE", help="what it should look like at the end")
    verb.add_argument("--start", metavar="IMAGE", help="what it looks like now")
    verb.add_argument("--model", metavar="NAME", help="else the small one that ships, in its world")
    verb.add_argument("--environment", choices=["toy"], help="the world to act in; toy ships")
    verb.add_argument("--out", metavar="FILE", help="draw the way and the energies to FILE, a .png")
    verb.add_argument("--steps", type=count, default=20, metavar="N", help="at most so many (20)")
    verb.add_argument("--seed", type=count, default=1, metavar="N", help="of all that is drawn (1)")
    verb.add_argument("--samples", type=count, metavar="N", help="actions tried an iteration")
    verb.add_argument("--elites", type=count, metavar="N", help="of them, the best that are kept")
    verb.add_argument("--iterations", type=count, metavar="N", help="of one search")
    verb.add_argument("--horizon", type=count, metavar="N", help="actions that are looked ahead")
    verb.add_argument("--bounds", metavar="BOUNDS", help="what may be done: a name, or JSON")
    verb.add_argument("--state", metavar="NUMBERS", help="of the robot now, with commas")


def _domain_help() -> str:
    return f"{', '.join(DOMAINS)}, or a series or pattern as in psi.*; else all domains"


def _nothing(_: Parser) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb: `run` of its module takes the parsed options and returns the exit code."""

    name: str
    module: str
    help: str
    examples: tuple[str, ...]
    arguments: Callable[[Parser], None] = _nothing


VERBS = (
    Verb("status", "status", "is it running, what it sees and expects",
         ("jepactl status", "jepactl status --json")),
    Verb("top", "top", "the machine and its forecast, live",
         ("jepactl top", "jepactl top --once --series 'psi.*'"), _top),
    Verb("predict", "predict", "a forecast: p10, p50 and p90 of each series",
         ("jepactl predict memory --horizon 1m", "jepactl predict 'psi.*' --json"), _predict),
    Verb("what-if", "what_if", "what an action would change; it is not done",
         ("jepactl what-if memory.high app.slice 512M",
          "jepactl what-if freeze app.slice --then 30s:thaw --steps"),
         _what_if),
    Verb("watch", "watch", "follow predictions raised and cleared, and changes of state",
         ("jepactl watch", "jepactl watch memory --json"), _watch),
    Verb("streams", "streams", "the streams in shared memory",
         ("jepactl streams",), _streams),
    Verb("read", "read", "records of a stream, straight from shared memory",
         ("jepactl read telemetry --series 'mem.*'",
          "jepactl read telemetry --follow --format csv"),
         _read),
    Verb("record", "record", "write telemetry to a trace that `jepad --replay` reads",
         ("jepactl record trace.csv.gz --seconds 10m",), _record),
    Verb("model", "video.model", "the models: what they are, whether they are intact; import one",
         ("jepactl model", "jepactl model import vitl.pt --licence MIT", "jepactl model list"),
         _model),
    Verb("embed", "video.embed", "a video as a model of pictures sees it, window by window",
         ("jepactl embed clip.mp4 --out clip.npy", "jepactl embed clip.mp4 --model toy --json"),
         _embed),
    Verb("plan", "video.plan", "actions that lead to a picture, as the model imagines them",
         ("jepactl plan --out plan.png", "jepactl plan --start now.png --goal wanted.png --json"),
         _plan),
    Verb("doctor", "doctor", "what is and isn't available here, and what to do",
         ("jepactl doctor",)),
)  # fmt: skip


class _Words(Parser):
    """Usage errors as the other errors are: what, why, what next. Exit code 2."""

    def error(self, message: str) -> NoReturn:
        words = sys.argv[1:]
        mistyped = [w for w in words if f"invalid choice: {w!r}" in message]
        if mistyped and "argument VERB" in message:
            near = did_you_mean(mistyped[0], [verb.name for verb in VERBS])
            message = f"no verb {mistyped[0]!r}{near}"
        elif mistyped and "DOMAIN" in message:
            near = did_you_mean(mistyped[0], DOMAINS)
            message = f"no domain {mistyped[0]!r}{near}. Domains: {', '.join(DOMAINS)}"
        elif "unrecognized arguments: -" in message:
            unknown = message.partition(": ")[2].split()[0]
            message = f"no flag {unknown!r}{did_you_mean(unknown, self._flags(words))}"
        sys.stderr.write(f"{self.prog}: {message}\nSee: {self.prog} --help\n")
        sys.exit(2)

    def _flags(self, words: Sequence[str]) -> list[str]:
        """Flags of this parser and of the verb among the words."""
        out = [flag for action in self._actions for flag in action.option_strings]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for verb in set(words) & set(action.choices):
                    out += action.choices[verb]._option_string_actions
        return out


class _Version(argparse.Action):
    """Reads the version only when asked: importlib.metadata is slow."""

    def __call__(self, *_: object) -> None:
        from importlib.metadata import version

        sys.stdout.write(f"jepactl {version('jepad')}\n")
        sys.exit(0)


def parser() -> Parser:
    """The whole parser, from VERBS."""
    out = _Words(
        prog="jepactl",
        description="Ask jepad, the world model of this machine.",
        epilog=_epilog("examples:", [example for verb in VERBS for example in verb.examples[:1]])
        + "\nexit code: 0 done, 1 failed, 2 wrong usage, 3 jepad is stopped or out of reach",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    out.add_argument("--version", action=_Version, nargs=0, help="print the version and end")
    out.set_defaults(bus="auto", json=False)
    _shared(out)
    verbs = out.add_subparsers(dest="verb", metavar="VERB", required=True, parser_class=_Words)
    for verb in VERBS:
        sub = verbs.add_parser(
            verb.name,
            help=verb.help,
            description=verb.help[0].upper() + verb.help[1:] + ".",
            epilog=_epilog("examples:", verb.examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb.arguments(sub)
        _shared(sub)
    return out


def _shared(out: Parser) -> None:
    """Flags good before and after the verb."""
    unset = argparse.SUPPRESS
    which = out.add_mutually_exclusive_group()
    for bus in ("system", "session"):
        words = f"ask the {bus}'s jepad; else the system's if there is one"
        which.add_argument(
            f"--{bus}", dest="bus", action="store_const", const=bus, default=unset, help=words
        )
    out.add_argument("--json", action="store_true", default=unset, help="JSON on stdout")


def _epilog(title: str, lines: Sequence[str]) -> str:
    return title + "\n" + "".join(f"  {line}\n" for line in lines)


def run(argv: Sequence[str]) -> int:
    """Parse, import the verb's module, run it."""
    if not argv:
        parser().print_help(sys.stderr)
        return 2
    options = parser().parse_args(argv)
    verb = next(verb for verb in VERBS if verb.name == options.verb)
    module = importlib.import_module(f"jepad.cli.{verb.module}")
    code: int = module.run(options)
    return code
