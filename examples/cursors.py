"""Where to resume a subscription, kept in a file: what the subscribers of this folder share.

The other examples keep it so with --cursor FILE, and are meant to be copied together with this file:

    python3 -m examples.device --cursor hello.cursor messages.channel.hello
    python3 -m examples.cursors hello.cursor

The second line shows what such a file has: the cursor from which all patterns resume, and that of each one
which has not caught up yet.  docs/client-libraries.md#which-cursor-to-keep has the reasons.  Standard library only.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from pathlib import Path
from typing import Any, Callable, Iterator, TypeVar

from .login import Refused, run

MAX_PAUSE = 30.0  # seconds between two tries to connect

Result = TypeVar("Result")


class Cursors:
    """Where to resume each pattern; docs/client-libraries.md#which-cursor-to-keep has the reasons.

    Call `after` for all patterns of a new connection before anything else, and `note` for each thing that the
    server says, in order, when it has been handled.  With a file, each change is in it at once.  A program that is
    killed between the two handles one delivery again when it comes back; who can't have that keeps the cursor where
    the effect is, in one transaction.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._file = file
        self._live: str | None = None  # of all that have caught up
        self._replaying: dict[str, str] = {}  # of each that has not
        if file is not None and file.exists():
            self._load(file)

    def after(self, pattern: str) -> str | None:
        """The cursor to resume `pattern` with on a new connection; its own until it has caught up there."""
        cursor = self._replaying.get(pattern, self._live)
        if cursor is not None:
            self._replaying[pattern] = cursor
        return cursor

    def note(self, kind: str, fields: dict[str, Any]) -> None:
        """`kind` is "subscribed", "message" or "caught_up"; there is nothing to note without a cursor."""
        cursor = fields.get("cursor")
        if cursor is None:
            return
        if kind == "subscribed" and fields.get("recovered"):
            self._replaying[fields["topic"]] = cursor
        elif "replay" in fields:
            self._replaying[fields["replay"]] = cursor
        else:
            self._live = cursor
            if kind in ("subscribed", "caught_up"):
                self._replaying.pop(fields["topic"], None)
        if self._file is not None:
            self._save(self._file)

    def describe(self) -> str:
        """A line for each place to resume from, for people."""
        lines = [] if self._live is None else [f"all that have caught up: {self._live}"]
        return "\n".join([*lines, *(f"{pattern}: {cursor}" for pattern, cursor in self._replaying.items())])

    def _load(self, file: Path) -> None:
        try:
            kept = json.loads(file.read_text())
            self._live, self._replaying = kept["live"], dict(kept["replaying"])
        except (ValueError, LookupError, TypeError):
            raise Refused(f"{file} was not written by these examples; name another file") from None

    def _save(self, file: Path) -> None:
        """All of it or nothing, whatever happens meanwhile."""
        new = file.with_name(f"{file.name}.new")
        new.write_text(json.dumps({"live": self._live, "replaying": self._replaying}))
        os.replace(new, file)


def follow(connect: Callable[[], Iterator[Result]]) -> Iterator[Result]:
    """What connections yield, one after the other: `connect` is called again whenever one is lost."""
    pause = 0.5  # seconds
    while True:
        why = "the server ended the stream"
        try:
            for result in connect():
                pause = 0.5
                yield result
        except OSError as error:
            why = str(error)
        except Refused as refused:
            if not refused.is_temporary:
                raise
            why = str(refused)
        # At random, so that a thousand clients do not reconnect in the same instant.
        wait = random.uniform(pause / 2, pause)
        print(f"{why}; next try in {wait:.1f} s", file=sys.stderr, flush=True)
        time.sleep(wait)
        pause = min(pause * 2, MAX_PAUSE)


def print_subscribed(fields: dict[str, Any]) -> None:
    """For people, on the standard error."""
    print(describe_subscribed(fields), file=sys.stderr, flush=True)


def describe_subscribed(fields: dict[str, Any]) -> str:
    """Whether a subscription begins without a gap, and the server's warning if it can never hear anything."""
    warning = f"; {fields['warning']}" if "warning" in fields else ""
    return f"subscribed to {fields['topic']}{recovery(fields.get('recovered'))}{warning}"


def recovery(recovered: bool | None) -> str:
    """What to say of it; None where nothing was to be resumed."""
    if recovered is None:
        return ""
    return ", resuming" if recovered else "; something may be missing: read the lists for the present state"


def cursor_file(text: str) -> Path:
    """A file that is there, or can be made."""
    file = Path(text)
    if file.is_dir():
        raise argparse.ArgumentTypeError(f"{file} is a directory")
    if not os.access(file.absolute().parent, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{file} can't be made: is {file.parent} there, and yours to write?")
    return file


def cursor_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--cursor",
        type=cursor_file,
        metavar="FILE",
        help="keep in FILE how far this is, and resume there next time",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="that an example was given with --cursor")
    file = parser.parse_args().file
    if not file.is_file():
        parser.error(f"{file} is no file: an example writes one with --cursor FILE")
    try:
        print(Cursors(file).describe())
    except Refused as refused:
        parser.error(str(refused))


if __name__ == "__main__":
    run(main)
