"""What is told of each request once it is over, however it was answered: a line in the log, an observation."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING, Protocol

from twisted.logger import LogEvent, Logger, LogLevel

from ..observe.logs import ACCESS
from .codec import METHODS

UNMATCHED = "unmatched"  # the route of a request that none was found for
LEFT = 499  # the status of a client that did not wait for its answer

if TYPE_CHECKING:
    from .site import Site

LOG = Logger("multiproto.http.request.Request")


class Over(Protocol):
    """A request that is."""

    @property
    def method(self) -> bytes: ...

    route: str
    began: float  # by the site's clock
    correlation_id: str

    @property
    def address(self) -> str:
        """The client's."""


def account(site: Site, request: Over, status: int, read: int, sent: int) -> None:
    """`read` and `sent` are bytes of bodies."""
    seconds = site.clock.seconds() - request.began
    named = label(request.method)
    event: LogEvent = {
        "log_logger": LOG,
        "log_level": LogLevel.info,
        "log_namespace": LOG.namespace,
        "log_source": None,
        "log_format": ACCESS,
        "log_time": time(),
        "method": named,
        "route": request.route,
        "status": status,
        "milliseconds": round(seconds * 1000, 1),
        "size": sent,
        "client": request.address,
        "request": request.correlation_id,
    }
    LOG.observer(event)  # as `LOG.info` would, which takes three times as long
    site.observed(named, request.route, status, seconds, read, sent)


def label(method: bytes) -> str:
    """A client can't make a new one."""
    return method.decode("ascii") if method in METHODS else "other"
