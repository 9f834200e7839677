"""Whether the server and its dependencies work, and whether it may receive traffic.

docs/rest.md#get-health
"""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

from attrs import define, field, frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime

from ..base.timestamps import format_timestamp

PROBE_TIMEOUT = 2.0  # seconds for a dependency to answer


@frozen
class Probe:
    """A check of one dependency.  Any exception, or no result for `PROBE_TIMEOUT`, means that it is down."""

    name: str
    check: Callable[[], Awaitable[object]]
    required: bool  # if it is down, the server is unhealthy; else degraded


async def always_up() -> None:
    """The check of a dependency within this process: always up."""


@define(eq=False, repr=False)
class HealthMonitor:
    """Runs all probes for each report."""

    _clock: IReactorTime
    _now: Callable[[], float]  # seconds since the epoch
    _probes: tuple[Probe, ...]
    _is_ready: Callable[[], bool]
    _started_at: float  # by the clock
    # By the field that says so: what is wrong with the server's surroundings, if anything is.
    _warnings: Mapping[str, Callable[[], str | None]] = field(factory=dict)
    _notices: Mapping[str, Callable[[], object]] = field(factory=dict)  # what is none the worse, or `None`

    def ready(self) -> bool:
        return self._is_ready()

    async def report(self) -> tuple[int, dict[str, Any]]:
        """The HTTP status of `/health`, and its body."""
        document = await self.document()
        return 503 if document["status"] == "unhealthy" else 200, document

    async def document(self) -> dict[str, Any]:
        found = {probe.name: await self._check(probe) for probe in self._probes}
        down = [probe for probe in self._probes if found[probe.name]["status"] == "down"]
        warnings = {name: text for name, find in self._warnings.items() if (text := find()) is not None}
        notices = {name: notice for name, find in self._notices.items() if (notice := find()) is not None}
        return {
            "status": _overall_status(down, bool(warnings)),
            "timestamp": format_timestamp(self._now()),
            "uptime": round(self._clock.seconds() - self._started_at, 3),
            "dependencies": found,
            **warnings,
            **notices,
        }

    async def _check(self, probe: Probe) -> dict[str, Any]:
        began = self._clock.seconds()
        try:
            await maybeDeferred(probe.check).addTimeout(PROBE_TIMEOUT, self._clock)
        except Exception:  # whatever the reason, it can't be used now
            status = "down"
        else:
            status = "up"
        return {"status": status, "responseTime": round((self._clock.seconds() - began) * 1000)}


def _overall_status(down: list[Probe], has_warning: bool) -> str:
    if any(probe.required for probe in down):
        return "unhealthy"
    return "degraded" if down or has_warning else "healthy"
