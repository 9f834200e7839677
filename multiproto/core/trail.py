"""The audit trail as it is read: one's own by everybody, all of it by operators."""

from __future__ import annotations

from typing import AbstractSet as Set
from typing import Callable, Mapping

from attrs import define, frozen

from .audit import ACTIONS
from .errors import Forbidden
from .forms import FieldValidator, paging
from .model import JsonObject, PageOf
from .ports import Identity, Query, Row, Store

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
