"""The audit trail as it is read: one's own by everybody, all of it by operators."""

from __future__ import annotations

from typing import AbstractSet as Set
from typing import Callable, Mapping

from attrs import define, frozen

from .audit import ACTIONS
from .errors import Forbidden
from .forms import Form, paging
from .model import PageOf, Public
from .ports import Identity, Query, Row, Store

Fields = Mapping[str, object]  # a request's, unchecked


@frozen
class Noted:
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

    def public(self) -> Public:
        shown: Public = {"id": self.id, "at": self.at, "action": self.action, "outcome": self.outcome}
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
class Trail:
    _store: Store
    _operators: Set[str]  # ids and addresses of users, in lower case
    _read: Callable[[bytes], object]  # JSON

    async def page(self, who: Identity, fields: Fields) -> PageOf[Noted]:
        """What was noted of all, or of the account `user`, the `action`.  Raises `Forbidden`, `Invalid`."""
        await self._check_operator(who)
        form = Form(fields)
        return await self._page(form, form.uuid("user", False))

    async def own(self, who: Identity, fields: Fields) -> PageOf[Noted]:
        """What was noted of the account of `who`.  Raises `Invalid`."""
        return await self._page(Form(fields), who.user_id)

    async def _check_operator(self, who: Identity) -> None:
        if who.user_id in self._operators:
            return
        if any("@" in operator for operator in self._operators):
            rows = (await self._store.read(Query("user_by_id", {"id": who.user_id}))).results[0]
            if any(row["email_key"] in self._operators for row in rows):
                return
        raise Forbidden("Only operators may read this")

    async def _page(self, form: Form, subject: str) -> PageOf[Noted]:
        page, limit = paging(form)
        action = form.optional("action") or ""
        if action and action not in ACTIONS:
            form.fault("action", f"Must be one of {', '.join(ACTIONS)}")
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
        return PageOf(tuple(map(self._noted, rows)), page, limit, count[0]["total"])

    def _noted(self, row: Row) -> Noted:
        details = row["details"]
        return Noted(
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
            None if details is None else self._read(details.encode()),
        )
