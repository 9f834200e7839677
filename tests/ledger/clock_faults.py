"""The time of day of servers leaps either way, while the clock of the intervals goes on; see `tests.fake_clock`.

Nothing of a load may depend on what is documented to go by the time of day:
`long_lived` has the settings of a server for that, and `people` gives the users
tokens that outlive every leap and are issued before the first.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Callable, Iterator, Mapping, Sequence

from tests.canary import SECRET
from tests.fake_clock import DAY, LEAPS, FakeClock

from .health import NOTICED_WITHIN, POLL, Health, document

if TYPE_CHECKING:
    from .fleet import Fleet
    from .server import Server

LEAPT = 3.0  # seconds that the time of day is wrong
LONG = 30.0  # seconds that it is, where it is wrong for long
LIFETIME = 100 * 86_400  # seconds
RETENTION = "30d"  # shorter than a leap, and longer than any load: nothing may be pruned
# The pruner has its turn in each leap.
PRELUDE = "from multiproto.log import pruner; pruner.INTERVAL = 0.5; "


def long_lived(logged: str) -> dict[str, str]:
    """Settings under which a leap ends no login, and what is kept would be pruned by a server that believed its clock."""
    kept = [{"match": match, "retention": RETENTION} for match in (f"{logged}.**", "messages.**")]
    return {
        "JWT_SECRET": SECRET,
        "JWT_REFRESH_EXPIRES_IN": f"{LIFETIME}s",
        "NAMESPACES": json.dumps(kept),
    }


def leap(clocks: Sequence[FakeClock], ports: Sequence[int], health: Health) -> str:
    """All `clocks` at once, and back, for each of the leaps; `health` is of their servers."""
    for seconds in LEAPS:
        for clock in clocks:
            clock.set(seconds)
        health.until("degraded", NOTICED_WITHIN)
        for port in ports:
            said = document(port).get("clock", "")
            if ("set forward" if seconds > 0 else "set back") not in said:
                health.complaints.append(f"{seconds} s of leap are not said, but {said!r}")
        time.sleep(LEAPT)
        for clock in clocks:
            clock.set(0)
        health.until_healed()
    return f"set {len(clocks)} clocks by {', '.join(f'{each:+d}' for each in LEAPS)} s and back"


def leap_for_long(fleet: Fleet) -> str:
    """One instance's time of day is 40 days ahead for half a minute, and somebody's keys and tokens outlive that."""
    one, other = fleet.random.sample(fleet.instances, 2)
    keepsakes = fleet.take_keepsakes(other)
    with _wrong(one, 40 * DAY):
        _serves_and_says_so(fleet, one)
    healed = fleet.health.until_healed()
    keepsakes.check(fleet.random.choice([one, other]).ports.http)
    return f"set a clock by {40 * DAY:+d} s for {LONG:g} s; well {healed:.2f} s after"


def start_wrong(fleet: Fleet) -> str:
    """One instance is started with a time of day that is wrong by 40 days, and again, when it is right."""
    one, other = fleet.random.sample(fleet.instances, 2)
    keepsakes = fleet.take_keepsakes(other)
    seconds = fleet.random.choice((40 * DAY, -40 * DAY))
    with _wrong(one, seconds):
        one.revive()
        _serves_and_says_so(fleet, one)
    one.revive()
    healed = fleet.health.until_healed()
    keepsakes.check(fleet.random.choice([one, other]).ports.http)
    return f"started with a clock that was off by {seconds:+d} s for {LONG:g} s; well {healed:.2f} s after"


@contextmanager
def _wrong(one: Server, seconds: int) -> Iterator[None]:
    assert one.clock is not None
    one.clock.set(seconds)
    try:
        yield
    finally:
        one.clock.set(0)


def _serves_and_says_so(fleet: Fleet, one: Server) -> None:
    begun = time.monotonic()
    while (said := document(one.ports.http)).get("status") != "degraded" or not said.get("clock"):
        if time.monotonic() > begun + NOTICED_WITHIN:
            fleet.complaints.append(f"a clock is wrong by 40 days, but what is said is {said}")
            break
        time.sleep(POLL)
    time.sleep(max(0.0, begun + LONG - time.monotonic()))


FAULTS: Mapping[str, Callable[[Fleet], str]] = {
    "clock-40-days": leap_for_long,
    "clock-wrong-at-start": start_wrong,
}
