"""The users of a load, and what the driver itself does on their behalf."""

from __future__ import annotations

import time
from itertools import count

import jwt
from attrs import define, field, frozen

from tests.canary import PASSWORD, SECRET
from tests.timing import RESCUE

from .clock_faults import LIFETIME
from .http import Http, Unanswered, Unsent
from .records import FAILED, INVOKED, OK, REVOKE, SEND, UNKNOWN, Journal, fingerprint

CHANNELS = ("red", "green", "blue")
DRIVER = "driver"
AGAIN = 0.1  # seconds until what failed is tried again


@frozen
class User:
    id: str
    token: str = field(repr=False)


@define(eq=False)
class Crowd:
    """`staying` send and listen; `leaving` only listens, and loses all rights in the middle of the load."""

    _port: int
    journal: Journal
    staying: list[User]
    leaving: User

    @classmethod
    def gather(cls, port: int, journal: Journal, lengthened: bool = False) -> Crowd:
        """Register and log in; with tokens `lengthened` as if the server had given them 100 days."""
        *staying, leaving = [
            _register(port, name, lengthened) for name in ("ann", "bob", "cay", "dan", "eve")
        ]
        return cls(port, journal, staying, leaving)

    def revoke(self) -> None:
        """End the only session of `leaving`; what it hears from a second later on is a fault."""
        give_up = time.monotonic() + RESCUE
        while (status := self._log_out()) not in (204, 401):  # 401: one whose answer was lost did it
            assert time.monotonic() < give_up, status
            time.sleep(AGAIN)
        self.journal.write(DRIVER, "rest", REVOKE, "", "", OK, user=self.leaving.id)

    def _log_out(self) -> int:
        try:
            return Http(self._port, self.leaving.token).ask("POST", "/api/v1/auth/logout").status
        except (Unsent, Unanswered):
            return 0

    def say_goodbye(self) -> None:
        """A last message for everybody, on every channel."""
        targets = [{"channelId": channel} for channel in CHANNELS]
        targets += [{"recipientId": user.id} for user in self.staying]
        for target in targets:
            give_up, (where,) = time.monotonic() + RESCUE, target.values()
            for number in count(1):
                if self._send(f"goodbye {where}, {number}", target) == OK:
                    break
                assert time.monotonic() < give_up, target
                time.sleep(AGAIN)

    def _send(self, content: str, target: dict[str, str]) -> str:
        author = self.staying[0]
        told = (DRIVER, "rest", SEND, content, str(target))
        digest = fingerprint(content)
        self.journal.write(*told, INVOKED, hash=digest, user=author.id)
        try:
            answer = Http(self._port, author.token).ask(
                "POST", "/api/v1/messages", {"content": content, **target}
            )
        except (Unsent, Unanswered):
            self.journal.write(*told, UNKNOWN, hash=digest, user=author.id)
            return UNKNOWN
        state = OK if answer.status == 201 else FAILED
        cursor = answer.body.get("cursor") if state == OK else None
        self.journal.write(*told, state, hash=digest, cursor=cursor, user=author.id)
        return state


def _register(port: int, name: str, lengthened: bool) -> User:
    http = Http(port)
    fields = {"email": f"{name}@example.org", "name": name, "password": PASSWORD}
    for path, status in (("register", 201), ("login", 200)):
        answer = http.ask("POST", f"/api/v1/auth/{path}", fields)
        assert answer.status == status, answer
    token = answer.body["data"]["token"]
    return User(answer.body["data"]["user"]["id"], _lengthen(token) if lengthened else token)


def _lengthen(token: str) -> str:
    """Access tokens are judged by the time of day, and may be given at most 30 days: one that outlives a longer leap."""
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    return jwt.encode({**claims, "exp": claims["iat"] + LIFETIME}, SECRET, "HS256")
