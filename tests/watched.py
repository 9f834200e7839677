"""Trial, with an ear on all that is logged: run as `python -m tests.watched`, like `python -m twisted.trial`."""

from __future__ import annotations

import sys

from twisted.logger import globalLogPublisher
from twisted.scripts.trial import run

from . import canary, servers
from .timing import be_patient


def main() -> int:
    be_patient()
    globalLogPublisher.addObserver(canary.observe)
    try:
        run()
    except SystemExit as ended:
        status = int(ended.code or 0)
    servers.stop_shared()  # and look at what they logged
    for leak in canary.leaks:
        print(f"A SECRET WAS TOLD: {leak}")
    return status or bool(canary.leaks)


if __name__ == "__main__":
    sys.exit(main())
