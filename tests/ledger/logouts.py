"""A user who logs out in the middle of a fault: a second after its end, that must count on every instance."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from typing import Callable, Sequence

from attrs import Factory, define, field
from websockets.exceptions import WebSocketException

from tests.canary import PASSWORD
from tests.timing import RESCUE

from .http import Http, Unanswered, Unsent
from .lines import LINES, Denied, Ports

WATCHED = 30.0  # seconds, at most, for which it is watched how long it takes
COUNTS_WITHIN = 1.0  # seconds (docs/guarantees.md#g7-authority-is-current)
EMAIL = "ann@example.org"
IDLE = "idle"  # a live topic on which nothing happens later
AGAIN = 0.05  # seconds until what failed is tried again


@define(eq=False)
class IdleConnection:
    """A connection on which nothing happens but its end, when its client sees that."""

    _ports: Ports
    _token: str = field(repr=False)
    protocol: str
    _is_open: Event = Factory(Event)
    _is_closed: Event = Factory(Event)

    @classmethod
    def open(cls, ports: Ports, token: str, protocol: str) -> IdleConnection:
        """Returns once it is subscribed: over GraphQL, that shows by the first delivery only."""
        opened, publisher = cls(ports, token, protocol), Http(ports.http, token)
        Thread(target=opened._follow, daemon=True).start()
        give_up = time.monotonic() + RESCUE
        while not opened._is_open.wait(AGAIN):
            assert time.monotonic() < give_up, protocol
            with suppress(Unsent, Unanswered):
                publisher.ask("POST", f"/api/v1/topics/{IDLE}", {"data": None})
        return opened

    def _follow(self) -> None:
        """Until it ends, if it was ever subscribed; else it is tried again, for the load may have used up a limit."""
        while not self._is_open.is_set():
            try:
                for said in LINES[self.protocol](self._ports, self._token, IDLE, None):
                    if said is not None:
                        self._is_open.set()
            except (Denied, OSError, WebSocketException):
                time.sleep(0 if self._is_open.is_set() else AGAIN)
        self._is_closed.set()

    def is_closed(self) -> bool:
        return self._is_closed.is_set()


@define(eq=False)
class Logout:
    """A session of its own, with a live connection of each protocol on each instance."""

    _ports: Sequence[Ports]  # of each instance
    _complaints: list[str]
    _token: str = field(repr=False)
    _connections: Sequence[Sequence[IdleConnection]]  # of each instance
    _thread: Thread | None = None
    _answered: float | None = None  # on the monotonic clock; when it was acknowledged

    @classmethod
    def prepare(cls, ports: Sequence[Ports], complaints: list[str]) -> Logout:
        token = _log_in(ports[0].http)
        connections = [[IdleConnection.open(each, token, protocol) for protocol in LINES] for each in ports]
        return cls(ports, complaints, token, connections)

    def begin(self, port: int) -> None:
        """Log out by way of the instance on `port`, as soon as it can be done; returns at once."""
        self._thread = Thread(target=self._log_out, args=(port,), daemon=True)
        self._thread.start()

    def _log_out(self, port: int) -> None:
        give_up = time.monotonic() + RESCUE
        while time.monotonic() < give_up:
            # Refused as no longer valid: an earlier try whose answer was lost has succeeded.
            if _ask(port, "POST", "logout", self._token) in (204, 401):
                self._answered = time.monotonic()
                return
            time.sleep(AGAIN)

    def check(self) -> str:
        """The fault is over: complain of every instance on which it does not count in time."""
        ended = time.monotonic()
        assert self._thread is not None
        self._thread.join()
        if self._answered is None:
            self._complaints.append("nobody could log out")
            return "no logout"
        over, longest = max(ended, self._answered), 0.0
        for number, (ports, connections) in enumerate(zip(self._ports, self._connections)):
            looks = {"token": partial(self._is_refused, ports.http)}
            looks |= {f"{each.protocol} connection": each.is_closed for each in connections}
            for what, has_ended in looks.items():
                longest = max(longest, took := _seconds_until(has_ended, over))
                if took > COUNTS_WITHIN:
                    self._complaints.append(
                        f"a {what} outlives its logout on instance {number} for {took:.2f} s"
                    )
        return f"a logout counted everywhere {longest:.2f} s after"

    def _is_refused(self, port: int) -> bool:
        return _ask(port, "GET", "me", self._token) == 401


def _seconds_until(holds: Callable[[], bool], since: float) -> float:
    """Zero if it holds at the first look, whenever that is."""
    if holds():
        return 0.0
    while not holds() and time.monotonic() < since + WATCHED:
        time.sleep(AGAIN)
    return time.monotonic() - since


def _log_in(port: int) -> str:
    """Once that can be done: on a busy machine, a request may be refused before the fault begins."""
    give_up = time.monotonic() + RESCUE
    while True:
        answer = Http(port).ask("POST", "/api/v1/auth/login", {"email": EMAIL, "password": PASSWORD})
        if answer.status == 200:
            return str(answer.body["data"]["token"])
        assert time.monotonic() < give_up, answer
        time.sleep(AGAIN)


def _ask(port: int, method: str, path: str, token: str) -> int:
    """The status; 0 without an answer."""
    try:
        return Http(port, token).ask(method, f"/api/v1/auth/{path}").status
    except (Unsent, Unanswered):
        return 0
