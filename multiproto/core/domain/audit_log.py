"""What is noted of accounts and sessions, for their owners and for operators.

A note is a step of a unit of work, so it is kept together with the change that
it tells of, or not at all.  What changes nothing, as a login that failed, is
noted by `core.attempts`.  No note ever holds a password, a token, or an address
of a mailbox.
"""

from __future__ import annotations

import hashlib
from typing import AbstractSet as Set
from typing import Callable, Mapping

from attrs import define, frozen

from ..client_info import ClientInfo
from ..errors import Forbidden
from ..identity import Identity
from ..model import JsonObject, PageOf, format_timestamp
from ..ports import Store
from ..transactions import Query, Row, Step
from ..validation import FieldValidator, email_key, paging

# The audit trail as it is read: one's own by everybody, all of it by operators.

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


RequestFields = Mapping[str, object]  # a request's, unchecked


@frozen
class AuditRecord:
    """One row of the trail."""

    id: str
    at: str  # RFC 3339
    actor: str | None
    subject: str | None
    action: str
    outcome: str
    protocol: str
    address: str | None
    session: str | None
    times: int
    details: object  # a JSON object, or none

    def to_json(self) -> JsonObject:
        shown: JsonObject = {"id": self.id, "at": self.at, "action": self.action, "outcome": self.outcome}
        others = {
            "actor": self.actor,
            "subject": self.subject,
            "protocol": self.protocol or None,
            "address": self.address,
            "sessionId": self.session,
            "details": self.details,
        }
        return shown | {"times": self.times} | {k: v for k, v in others.items() if v is not None}


@define(eq=False, repr=False)
class AuditLog:
    _store: Store
    _operators: Set[str]  # ids and addresses of users, in lower case
    _decode_json: Callable[[bytes], object]  # JSON

    async def page(self, who: Identity, fields: RequestFields) -> PageOf[AuditRecord]:
        """What was noted of all, or of the account `user`, the `action`.  Raises `Forbidden`, `Invalid`."""
        await self._check_operator(who)
        form = FieldValidator(fields)
        return await self._read_page(form, form.uuid("user", False))

    async def own_page(self, who: Identity, fields: RequestFields) -> PageOf[AuditRecord]:
        """What was noted of the account of `who`.  Raises `Invalid`."""
        return await self._read_page(FieldValidator(fields), who.user_id)

    async def _check_operator(self, who: Identity) -> None:
        if who.user_id in self._operators:
            return
        if any("@" in operator for operator in self._operators):
            rows = (await self._store.read(Query("user_by_id", {"id": who.user_id}))).results[0]
            if any(row["email_key"] in self._operators for row in rows):
                return
        raise Forbidden("Only operators may read this")

    async def _read_page(self, form: FieldValidator, subject: str) -> PageOf[AuditRecord]:
        page, limit = paging(form)
        action = form.optional_text("action") or ""
        if action and action not in ACTIONS:
            form.add_error("action", f"Must be one of {', '.join(ACTIONS)}")
        form.check()
        which = "_by_subject" if subject else "_by_action" if action else ""
        asked: dict[str, object] = {"action": action} if which else {}
        if subject:
            asked["subject"] = subject
        snapshot = await self._store.read(
            Query(f"audit_page{which}", asked | {"limit": limit, "offset": (page - 1) * limit}),
            Query(f"audit_count{which}", asked),
        )
        rows, count = snapshot.results
        return PageOf(tuple(map(self._record_from_row, rows)), page, limit, count[0]["total"])

    def _record_from_row(self, row: Row) -> AuditRecord:
        details = row["details"]
        return AuditRecord(
            row["id"],
            row["at"],
            row["actor"],
            row["subject"],
            row["action"],
            row["outcome"],
            row["protocol"],
            row["address"],
            row["session_id"],
            row["times"],
            None if details is None else self._decode_json(details.encode()),
        )
