"""Trial, which also looks for secrets in all that is logged: run as `python -m tests.watched`, like `python -m twisted.trial`.

Waits patiently (see `tests.timing`), and writes down how long each module took.
"""

from __future__ import annotations

import gc
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
    keep_garbage_collection_cheap()
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
        seconds[module_of(test)] += result._lastTime or 0

    TestResult.stopTest = counted  # type: ignore[method-assign]
    return seconds


def keep_garbage_collection_cheap() -> None:
    """Let the collector look at what the tests of a module make, not at all that was loaded for all of them.

    Full collections were more than a quarter of the CPU of a run.
    """
    start_test, module = TestResult.startTest, ""

    def frozen(result: Any, test: Any) -> None:
        nonlocal module
        if module_of(test) != module:
            module = module_of(test)
            gc.collect()
            gc.freeze()
        start_test(result, test)

    TestResult.startTest = frozen  # type: ignore[method-assign]


def module_of(test: Any) -> str:
    return type(getattr(test, "_originalTest", test)).__module__


if __name__ == "__main__":
    sys.exit(main())
