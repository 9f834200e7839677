"""The audit log of accounts and sessions: written here, read by their owners and by operators.

A record is written by a step of the unit that makes the change, so it is stored
together with the change, or not at all.  What changes nothing, such as a failed
login, is recorded by `failed_attempts`.  No record ever has a password, a token,
or a mailbox address.
"""

from __future__ import annotations

import hashlib
import re
from typing import Callable, Mapping, Sequence

from attrs import define, evolve, frozen

from ...base.timestamps import format_timestamp
from ..client_info import ClientInfo
from ..identity import Identity
from ..mailbox import email_key
from ..model import JsonObject, PageOf
from ..ports import Store
from ..transactions import Query, Row, Step
from ..validation import FieldValidator, RequestFields
from .pagination import PageRequest

SUCCESS = "success"

_CURSOR = re.compile(r"audit\.([0-9]{1,18})")

# All actions, by which the audit log can be filtered.
ACTIONS = (
    *("login", "refresh", "token", "logout", "session.revoked"),
    *("credential.created", "credential.revoked"),
    *("password.changed", "email.changed", "account.created", "account.closed"),
    *("operator.granted", "operator.revoked"),
)


@define(eq=False, repr=False)
class AuditRecorder:
    """Builds the steps that write records; `new_id` gives each its id."""

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
        """One record, as a step for the `Unit` of the change.

        `action` is one of `ACTIONS`; `actor` is the id of the user who did it, if
        that is proven; `subject` the id of the user, or of what else, it was done to.
        `details` is any JSON object, and is shown unchanged.
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
    """The subject of an attempt to log in with an address that no account has.

    It may be a person's address all the same, or a password in the wrong field, so
    only its hash is stored; whoever suspects an address can compute the same.
    """
    return f"email:{hashlib.sha256(email_key(email).encode()).hexdigest()[:16]}"


@frozen
class AuditRecord:
    """One record of the audit log."""

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
        required: JsonObject = {
            "id": self.id,
            "at": self.at,
            "action": self.action,
            "outcome": self.outcome,
            "times": self.times,
        }
        optional = {
            "actor": self.actor,
            "subject": self.subject,
            "protocol": self.protocol or None,
            "address": self.address,
            "sessionId": self.session,
            "details": self.details,
        }
        return required | {name: value for name, value in optional.items() if value is not None}


def _cursors_of(numbers: Sequence[int]) -> list[str]:
    """The cursors of records: none of the log, for what changes nothing is recorded without an event."""
    return [f"audit.{max(number, 0)}" for number in numbers]


@define(eq=False, repr=False)
class AuditLog:
    _store: Store
    _decode_json: Callable[[bytes], object]  # JSON

    async def page(self, fields: RequestFields) -> PageOf[AuditRecord]:
        """All records, filtered by `user` and `action`.  Raises `ValidationError`.

        For operators: whoever offers it calls `Operators.check` before.
        """
        form = FieldValidator(fields)
        return await self._read_page(form, form.uuid("user", False))

    async def own_page(self, identity: Identity, fields: RequestFields) -> PageOf[AuditRecord]:
        """The records of one's own account.  Raises `ValidationError`."""
        return await self._read_page(FieldValidator(fields), identity.user_id)

    async def _read_page(self, form: FieldValidator, subject: str) -> PageOf[AuditRecord]:
        request = await PageRequest.parse(form, self._locate)
        action = form.optional_text("action") or ""
        if action and action not in ACTIONS:
            form.add_error("action", f"Must be one of {', '.join(ACTIONS)}")
        form.check()
        suffix = "_by_subject" if subject else "_by_action" if action else ""
        filters: dict[str, object] = {"action": action} if suffix else {}
        if subject:
            filters["subject"] = subject
        snapshot = await self._store.read(*request.queries("audit", suffix, filters))
        rows, count, *behind = snapshot.results
        page = request.build_page(
            rows, count[0]["total"], any(behind), self._record_from_row, _cursors_of, _cursors_of([0])[0]
        )
        return evolve(page, cursor=None)  # no place in the log that one could follow it from

    async def _locate(self, cursor: str) -> int | None:
        """The number of the record that `cursor` names; `None` if there was none yet."""
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            return None
        (newest,) = (await self._store.read(Query("audit_end"))).results[0]
        return int(found[1]) if int(found[1]) <= newest["number"] else None

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
