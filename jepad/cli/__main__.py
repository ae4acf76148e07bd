"""jepactl: start, and end well.

Owns: the short way for `jepactl status`, and how errors, interrupts and closed pipes end.
"""

from __future__ import annotations

import os
import sys

from jepad.errors import JepadError

#: Flags that `jepactl status` understands without a parser.
BUSES = {"--system": "system", "--session": "session"}
INTERRUPTED = 130
PIPE_CLOSED = 141


def main() -> int:
    """The console script."""
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except JepadError as error:
        code = _fail(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # Whoever read us is done; the interpreter's own flush at exit must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = PIPE_CLOSED
    return code


def _run(argv: list[str]) -> int:
    flags = [word for word in argv if word in BUSES]
    if [word for word in argv if word not in BUSES] == ["status"] and len(flags) < 2:
        from jepad.cli.status import show

        return show(BUSES[flags[0]] if flags else "auto")
    from jepad.cli.options import run

    return run(argv)


def _fail(error: JepadError) -> int:
    from jepad.cli.output import note

    note(f"jepactl: {error}")
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
