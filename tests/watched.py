"""Trial, which also looks for secrets in all that is logged: run as `python -m tests.watched`, like `python -m twisted.trial`.

Waits patiently (see `tests.timing`), and writes down how long each module took.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from twisted.logger import globalLogPublisher
from twisted.scripts.trial import run
from twisted.trial.reporter import TestResult

from . import canary, servers
from .timing import be_patient

SECONDS = "MULTIPROTO_TEST_SECONDS"  # names a file in the environment: for the seconds of each module


def main() -> int:
    be_patient()
    seconds = measure_modules()
    globalLogPublisher.addObserver(canary.observe)
    try:
        run()
    except SystemExit as ended:
        status = int(ended.code or 0)
    servers.stop_shared()  # and look at what they logged
    for leak in canary.leaks:
        print(f"A SECRET WAS TOLD: {leak}")
    if file := os.environ.get(SECONDS):
        Path(file).write_text(json.dumps(seconds))
    return status or bool(canary.leaks)


def measure_modules() -> Counter[str]:
    """Seconds of the tests of each module, counted from now on."""
    seconds, stop_test = Counter[str](), TestResult.stopTest

    def counted(result: Any, test: Any) -> None:
        stop_test(result, test)
        seconds[type(getattr(test, "_originalTest", test)).__module__] += result._lastTime or 0

    TestResult.stopTest = counted  # type: ignore[method-assign]
    return seconds


if __name__ == "__main__":
    sys.exit(main())
