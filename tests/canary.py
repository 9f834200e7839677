"""Secrets that can be recognised wherever they turn up, and a look at everything that is said.

Tests choose passwords, keys and the like with `CANARY` in them.  What a server
hands out itself is known by its form, or noted when it is handed out.  Whatever
a server logs, shows to operators or answers goes through `look` or `answered`;
a secret in it fails the test that runs, and the whole run (see `watched`).
"""

from __future__ import annotations

import re

from twisted.logger import LogEvent
from twisted.python import log

from multiproto.observe.logs import make_observer

CANARY = "cAn4ry"
PASSWORD = f"{CANARY}-Passw0rd!"
SECRET = f"{CANARY}, which all instances share, and nobody else"

# Whoever it is of.
FORMS = re.compile(
    "|".join(
        [
            f"(?P<chosen>{CANARY})",
            r"(?P<token>\beyJ[\w-]+\.eyJ[\w-]+\.[\w-]{20,})",  # RFC 7515, compact
            r"(?P<credential>\bmpd_[a-z2-7]{64})",
            r"(?P<hash>\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53})",
            r"(?P<key>-----BEGIN [A-Z ]*PRIVATE KEY)",
        ]
    )
)
WORD = re.compile(r"(?<![\w-])[\w-]{43}(?![\w-])")  # a refresh token is one, but so is much else
HANDED_OUT = re.compile(r'("(?:token|refreshToken|credential)"\s*:\s*)"([^"]*)"')

issued: set[str] = set()  # what servers handed out, by their answers
leaks: list[Leak] = []  # of this process


class Leak(Exception):
    """Says where, and which kind; not the secret."""


def look(where: str, text: str) -> None:
    """Fail if `text`, which somebody said `where`, has a secret."""
    kinds = {str(found.lastgroup) for found in FORMS.finditer(text)}
    if any(word in issued for word in WORD.findall(text)):
        kinds.add("issued")
    if kinds:
        leak = Leak(f"{where}: {', '.join(sorted(kinds))} in {masked(text)[:1000]}")
        leaks.append(leak)
        log.err(leak)  # which trial takes for an error of the test that runs


def masked(text: str) -> str:
    text = FORMS.sub(lambda found: f"[{found.lastgroup}]", text)
    return WORD.sub(lambda found: "[issued]" if found[0] in issued else found[0], text)


def answered(where: str, text: str) -> None:
    """An answer of a server's: what it hands out on purpose is noted; nothing else in it is a secret."""
    if '"success":false' not in text and '"errors":' not in text:
        issued.update(found[2] for found in HANDED_OUT.finditer(text))
        text = HANDED_OUT.sub(r'\1"handed out"', text)
    look(where, text)


def observe(event: LogEvent) -> None:
    """Everything that is logged in this process, as our own observers write it at their most talkative."""
    if not isinstance(getattr(event.get("log_failure"), "value", None), Leak):
        for pretty in (False, True):
            make_observer("debug", pretty, lambda line: look("log", line))(event)
