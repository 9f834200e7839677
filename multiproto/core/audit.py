"""What is noted of accounts and sessions, for their owners and for operators.

A note is a step of a unit of work, so it is kept together with the change that
it tells of, or not at all.  What changes nothing, as a login that failed, is
noted by `core.attempts`.  No note ever holds a password, a token, or an address
of a mailbox.
"""

from __future__ import annotations

import hashlib
from typing import Callable, Mapping

from attrs import define

from .client import ClientInfo
from .forms import email_key
from .model import format_timestamp
from .ports import Step

SUCCESS = "success"

# Who adds an action names it here: these are what the trail can be asked for.
ACTIONS = (
    *("login", "refresh", "token", "logout", "session.revoked"),
    *("credential.created", "credential.revoked"),
    *("password.changed", "email.changed", "account.created", "account.closed"),
)


@define(eq=False, repr=False)
class AuditRecorder:
    """Makes the notes; `new_id` gives each its id."""

    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]

    def record_step(
        self,
        action: str,
        client: ClientInfo,
        *,
        actor: str | None = None,
        subject: str | None = None,
        outcome: str = SUCCESS,
        session: str | None = None,
        times: int = 1,
        details: Mapping[str, object] | None = None,
    ) -> Step:
        """One row, to stand in the `Unit` of what it tells of.

        `action` is one of `ACTIONS`; `actor` and `subject` are ids of users: who
        did it, if that is proven, and whose account it concerns (or what else it
        does).  `details` is any JSON object, and is shown as it is.
        """
        assert action in ACTIONS, action
        params = {
            "id": self._new_id(),
            "at": format_timestamp(self._now()),
            "actor": actor,
            "subject": subject,
            "action": action,
            "outcome": outcome,
            "protocol": client.protocol,
            "address": client.address or None,
            "session_id": session,
            "times": times,
            "details": details,
        }
        return Step("audit_add", params, expected_rows=1)


def unknown_email_subject(email: str) -> str:
    """The subject of what was tried with an address that nobody has here.

    It may be somebody's all the same, or a password in the wrong field, so it
    is not written down; who suspects an address can compute the same.
    """
    return f"email:{hashlib.sha256(email_key(email.strip()).encode()).hexdigest()[:16]}"
