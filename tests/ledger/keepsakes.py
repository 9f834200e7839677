"""What somebody has while a clock is wrong, and must still have afterwards: a refresh token and an idempotency key."""

from __future__ import annotations

import time
from pathlib import Path
from uuid import uuid4

from attrs import define, field

from tests.canary import PASSWORD
from tests.timing import RESCUE

from .http import Answer, Http, Unanswered, Unsent
from .logouts import EMAIL
from .records import FAILED, INVOKED, OK, SEND, UNKNOWN, Journal, fingerprint

JOURNAL = "keepsakes.jsonl"  # beside those of the clients
CHANNEL = "keepsakes"
AGAIN = 0.1  # seconds until what failed is tried again


@define(eq=False)
class Keepsakes:
    _journal: Journal
    _complaints: list[str]
    _content: str
    _refresh_token: str = field(repr=False, default="")
    _token: str = field(repr=False, default="")
    _user: str = ""

    @classmethod
    def take(cls, port: int, directory: Path, complaints: list[str]) -> Keepsakes:
        """By way of the instance on `port`."""
        kept = cls(Journal(directory / JOURNAL), complaints, f"keepsake {uuid4()}")
        kept._log_in(port)
        kept._send(port)
        return kept

    def check(self, port: int) -> None:
        """The message is sent again with its key: if that is forgotten, the log has it twice."""
        self._send(port)
        answer = _ask(port, None, "auth/refresh", {"refreshToken": self._refresh_token})
        if answer.status != 200:
            self._complaints.append(
                f"a refresh token was good before, and then {answer.status}: {answer.body}"
            )

    def _log_in(self, port: int) -> None:
        data = _ask(port, None, "auth/login", {"email": EMAIL, "password": PASSWORD}).body["data"]
        self._refresh_token, self._token, self._user = data["refreshToken"], data["token"], data["user"]["id"]

    def _send(self, port: int) -> None:
        digest, where = fingerprint(self._content), f"messages.channel.{CHANNEL}"

        def write(state: str, cursor: str | None = None) -> None:
            self._journal.write(
                "keepsakes",
                "rest",
                SEND,
                self._content,
                where,
                state,
                hash=digest,
                cursor=cursor,
                user=self._user,
            )

        write(INVOKED)
        body = {"content": self._content, "channelId": CHANNEL}
        answer = _ask(port, self._token, "messages", body, Idempotency_Key=self._content)
        if answer.status == 201:
            write(OK, answer.body["cursor"])
        else:
            write(UNKNOWN if answer.status >= 500 else FAILED)
            self._complaints.append(f"{self._content} was answered with {answer}")


def _ask(port: int, token: str | None, path: str, body: object, **headers: str) -> Answer:
    """Until it is answered as well as it will be: on a busy machine, the database may be away for a moment."""
    give_up = time.monotonic() + RESCUE
    while True:
        try:
            answer = Http(port, token).ask("POST", f"/api/v1/{path}", body, **headers)
            if answer.status < 500 or time.monotonic() > give_up:
                return answer
        except (Unsent, Unanswered):
            assert time.monotonic() < give_up, path
        time.sleep(AGAIN)
