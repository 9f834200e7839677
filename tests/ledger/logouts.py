"""A user who logs out in the middle of a fault: a second after its end, that must count on every instance."""

from __future__ import annotations

import json
import time
from functools import partial
from threading import Thread
from typing import Callable, Sequence

from attrs import define, field
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import ClientConnection

from tests.canary import PASSWORD
from tests.timing import RESCUE

from .http import HOST, Http, Unanswered, Unsent
from .lines import open_websocket

WATCHED = 30.0  # seconds, at most, for which it is watched how long it takes
COUNTS_WITHIN = 1.0  # seconds (docs/guarantees.md#g7-authority-is-current)
EMAIL = "ann@example.org"
AGAIN = 0.05  # seconds until what failed is tried again


@define(eq=False)
class Logout:
    """A session of its own, with a live connection on each instance."""

    _ports: Sequence[int]  # of the HTTP of each instance
    _complaints: list[str]
    _token: str = field(repr=False)
    _sockets: list[ClientConnection]
    _thread: Thread | None = None
    _answered: float | None = None  # on the monotonic clock; when it was acknowledged

    @classmethod
    def prepare(cls, ports: Sequence[int], complaints: list[str]) -> Logout:
        token = _log_in(ports[0])
        return cls(ports, complaints, token, [_connect(port, token) for port in ports])

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
        for number, (port, socket) in enumerate(zip(self._ports, self._sockets)):
            looks = {"token": partial(self._is_refused, port), "connection": partial(_is_closed, socket)}
            for what, has_ended in looks.items():
                longest = max(longest, took := _seconds_until(has_ended, over))
                if took > COUNTS_WITHIN:
                    self._complaints.append(
                        f"a {what} outlives its logout on instance {number} for {took:.2f} s"
                    )
            socket.close()
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


def _connect(port: int, token: str) -> ClientConnection:
    give_up = time.monotonic() + RESCUE
    while True:
        socket = open_websocket(f"ws://{HOST}:{port}/ws")
        socket.send(json.dumps({"type": "auth", "token": token}))
        said = json.loads(socket.recv(RESCUE))
        if said["type"] == "auth_success":
            return socket
        socket.close()
        assert time.monotonic() < give_up, said
        time.sleep(AGAIN)


def _is_closed(socket: ClientConnection) -> bool:
    while True:
        try:
            socket.recv(0)
        except TimeoutError:
            return False
        except (ConnectionClosed, WebSocketException, OSError):
            return True
