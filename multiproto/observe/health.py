"""Is the server well, and may traffic be sent to it (contract, section 2)?"""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from attrs import define, frozen
from twisted.internet.defer import maybeDeferred
from twisted.internet.interfaces import IReactorTime

from ..base.timestamps import format_timestamp

PROBE_TIMEOUT = 2.0  # seconds for a dependency to answer


@frozen
class Probe:
    """Asks one dependency for the least it can do.  Any exception, or silence for `PROBE_TIMEOUT`, means down."""

    name: str
    check: Callable[[], Awaitable[object]]
    required: bool  # without it: unhealthy; without any other: degraded


async def always_up() -> None:
    """For what lives in this process: up as long as anything is."""


@define(eq=False, repr=False)
class HealthMonitor:
    _clock: IReactorTime
    _now: Callable[[], float]  # seconds since the epoch
    _probes: tuple[Probe, ...]
    _is_ready: Callable[[], bool]
    _started_at: float  # by `_now`

    def ready(self) -> bool:
        return self._is_ready()

    async def report(self) -> tuple[int, dict[str, Any]]:
        """The HTTP status of `/health`, and its body."""
        document = await self.document()
        return 503 if document["status"] == "unhealthy" else 200, document

    async def document(self) -> dict[str, Any]:
        found = {probe.name: await self._check(probe) for probe in self._probes}
        down = [probe for probe in self._probes if found[probe.name]["status"] == "down"]
        return {
            "status": _overall_status(down),
            "timestamp": format_timestamp(self._now()),
            "uptime": round(self._now() - self._started_at, 3),
            "dependencies": found,
        }

    async def _check(self, probe: Probe) -> dict[str, Any]:
        asked = self._clock.seconds()
        try:
            await maybeDeferred(probe.check).addTimeout(PROBE_TIMEOUT, self._clock)
        except Exception:  # whatever keeps it from answering, it is of no use now
            status = "down"
        else:
            status = "up"
        return {"status": status, "responseTime": round((self._clock.seconds() - asked) * 1000, 3)}


def _overall_status(down: list[Probe]) -> str:
    if any(probe.required for probe in down):
        return "unhealthy"
    return "degraded" if down else "healthy"
