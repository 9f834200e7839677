"""How tests deal with time: what ends one that hangs, and promises in seconds.

A test shows a promise by the order of events, or by what the server itself says
and counts: then it is as true on a busy machine as on an idle one.  No test
fails because something took long.  Where the promise is a number of seconds,
the test measures with `Stopwatch`, and `make prove` (see `tests.prove`) compares
what was measured with the bound.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, Callable, TypeVar

from attrs import Factory, define
from hypothesis import HealthCheck, settings
from twisted.trial import util

RESCUE = 120.0  # seconds for one thing that must happen; ends a test that hangs, and judges nothing
TEST_RESCUE = 5 * RESCUE  # seconds for a whole test
Test = TypeVar("Test", bound=Callable[..., Any])
MEASUREMENTS = "MULTIPROTO_MEASUREMENTS"  # names a file in the environment: where stopwatches write


def be_patient() -> None:
    """Lift the bounds that trial and Hypothesis put on every test: the machine may have other work to do."""
    util.DEFAULT_TIMEOUT_DURATION = TEST_RESCUE
    settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("patient")


@define
class Stopwatch:
    """Measures from its making."""

    _now: Callable[[], float] = time.monotonic
    _started: float = Factory(lambda self: self._now(), takes_self=True)

    @property
    def seconds(self) -> float:
        return self._now() - self._started

    def stop(self, what: str, bound: float) -> None:
        """Write down how long `what` took, which is promised to take less than `bound` seconds."""
        measured(what, self.seconds, bound)


def measured(what: str, seconds: float, bound: float) -> None:
    """Write a measurement down, if `make prove` asks for it; on a busy machine it would say nothing."""
    if file := os.environ.get(MEASUREMENTS):
        line = json.dumps({"what": what, "seconds": seconds, "bound": bound})
        with Path(file).open("a") as notes:  # one write: several processes may append
            notes.write(f"{line}\n")


def only_by_stopwatch(test: Test) -> Test:
    """A test of what the clock alone can tell: it runs in `make prove`, on a machine with nothing else to do."""
    if not os.environ.get(MEASUREMENTS):
        test.skip = "only make prove can tell"  # type: ignore[attr-defined]
    return test
