"""What `/health` of the servers under test says, and how long it takes to say something else."""

from __future__ import annotations

import time
from typing import Any, Sequence

from attrs import Factory, frozen

from tests.timing import RESCUE

from .http import Http, Unanswered, Unsent

HEALED_WITHIN = 5.0  # seconds after a fault is over (docs/guarantees.md#g10-degrade-do-not-die)
NOTICED_WITHIN = 3.0  # seconds
POLL = 0.02  # seconds between two looks


class NeverSaid(Exception):
    """A server does not say what it should, and will not."""


@frozen
class Health:
    """Of several servers, which all have to say the same."""

    _ports: Sequence[int]  # of their HTTP
    complaints: list[str] = Factory(list)  # what was said too late

    def until(self, status: str, within: float) -> float:
        """Seconds until every server says `status` of itself, all at once; what comes late is complained of.

        Raises `NeverSaid`.
        """
        begun = time.monotonic()
        late = False
        while True:
            statuses = [document(port).get("status") for port in self._ports]
            took = time.monotonic() - begun
            if took > within and not late:
                late = True
                self.complaints.append(f"not {status} within {within} s, but {statuses}")
            if all(each == status for each in statuses):
                return took
            if took > RESCUE:
                raise NeverSaid(f"not {status} at all, but {statuses}")
            time.sleep(POLL)

    def stays(self, status: str, seconds: float) -> None:
        """Every server says `status` of itself for so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for port in self._ports:
                if (said := document(port)).get("status") != status:
                    self.complaints.append(f"not {status} any more, but {said}")
                    return
            time.sleep(POLL)

    def until_healed(self) -> float:
        return self.until("healthy", HEALED_WITHIN)


def document(port: int) -> dict[str, Any]:
    """Nothing, where there is no answer."""
    try:
        return dict(Http(port).ask("GET", "/health").body)
    except (Unsent, Unanswered):
        return {}
