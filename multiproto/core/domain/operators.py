"""Who may read the whole audit log: accounts, by their ids.

`OPERATORS` may name an address, but an address can have another owner tomorrow.  So it is looked up
once, by the first instance that starts with it, and what was found is stored for good: from then on
that account counts, whatever its address, and nobody where there was none (docs/operations.md#operators).
A command makes operators, too.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Callable, Collection, Mapping

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ...base.timestamps import format_timestamp
from ..client_info import ClientInfo
from ..errors import Forbidden, NotFound
from ..identity import Identity
from ..kept_accounts import email_lookup
from ..mailbox import email_key
from ..ports import Store
from ..transactions import Query, Step, Unit
from .audit_log import AuditRecorder
from .login_sessions import ConcurrentChange

BY_SETTING = {"by": "OPERATORS"}  # in the audit log: how they became one
COMMAND = ClientInfo("command")


@define(eq=False, repr=False)
class Operators(Service):
    """Knows, grants and revokes; once started, it has looked up the addresses in the settings."""

    _store: Store
    _audit_recorder: AuditRecorder
    _now: Callable[[], float]  # seconds since the epoch
    _configured: Collection[str]  # ids and addresses
    _user_ids: frozenset[str] = frozenset()  # of the configured ones; until the start, nobody's

    _log = Logger()

    def startService(self) -> Deferred[None]:
        """Fires when every address is looked up.  Raises `Unavailable`."""
        super().startService()
        return Deferred.fromCoroutine(self._look_up())

    async def check(self, identity: Identity) -> None:
        """Raises `Forbidden` for an identity that is no operator's."""
        if identity.user_id in self._user_ids:
            return
        if not (await self._store.read(Query("operator_by_id", {"id": identity.user_id}))).results[0]:
            raise Forbidden("Only operators may read this")

    async def grant(self, user: str) -> str:
        """Make the account with this id or address an operator; its id.  Raises `NotFound`."""
        id = await self._find(user)
        at = format_timestamp(self._now())
        await self._change(id, "operator.granted", "operator_add", {"id": id, "at": at})
        return id

    async def revoke(self, user: str) -> bool:
        """Undo `grant`; whether there was one.  Raises `NotFound`.

        An account that `OPERATORS` names stays one.
        """
        id = await self._find(user)
        return await self._change(id, "operator.revoked", "operator_drop", {"id": id})

    async def granted(self) -> list[Mapping[str, object]]:
        """`user_id`, `email` and `granted_at` of all that a command made operators."""
        return list((await self._store.read(Query("operators_all"))).results[0])

    async def _find(self, user: str) -> str:
        by_id, by_email = (
            await self._store.read(
                Query("user_by_id", {"id": user.lower()}),
                Query("user_by_email", email_lookup(user)),
            )
        ).results
        for row in (*by_id, *by_email):
            return str(row["id"])
        raise NotFound.of("User", user)

    async def _change(self, id: str, action: str, statement: str, params: Mapping[str, object]) -> bool:
        """Execute `statement` and record `action` in the audit log; whether there was anything to change."""
        change = Step(statement, params, expected_rows=1, miss=ConcurrentChange(""))
        record = self._audit_recorder.record_step(action, COMMAND, subject=id)
        try:
            await self._store.commit(Unit((change, record)))
        except ConcurrentChange:
            return False  # it was so already
        return True

    async def _look_up(self) -> None:
        """Resolve the configured addresses that no instance has resolved yet, and read what all stand for."""
        keys = {email_key(each): each for each in self._configured if "@" in each}
        for key in keys.keys() - (await self._owners(keys)).keys():
            await self._resolve(key, keys[key])
        owners = await self._owners(keys)  # read again, as another instance may have been first
        nobody = sorted(keys[key] for key, user_id in owners.items() if user_id is None)
        if nobody:
            self._log.warn(
                "OPERATORS names {addresses}, which no account had when it was first named: nobody is an operator "
                "by that, nor will be; make one with python -m multiproto user grant",
                addresses=", ".join(nobody),
            )
        ids = {each.lower() for each in self._configured if "@" not in each}
        self._user_ids = frozenset(ids | {id for id in owners.values() if id is not None})

    async def _owners(self, keys: Collection[str]) -> dict[str, str | None]:
        """The ids of the accounts that the resolved ones of these addresses stand for; `None` for nobody's."""
        rows = (await self._store.read(Query("operator_addresses_of", {"email_keys": list(keys)}))).results[0]
        return {row["email_key"]: row["user_id"] for row in rows}

    async def _resolve(self, key: str, address: str) -> None:
        rows = (await self._store.read(Query("user_by_email", email_lookup(address)))).results[0]
        id = rows[0]["id"] if rows else None
        params = {"email_key": key, "user_id": id, "at": format_timestamp(self._now())}
        steps = [Step("operator_address_resolve", params, expected_rows=1, miss=ConcurrentChange(""))]
        if id is not None:
            steps.append(
                self._audit_recorder.record_step(
                    "operator.granted", ClientInfo(), subject=id, details=BY_SETTING
                )
            )
        with suppress(ConcurrentChange):  # another instance was first
            await self._store.commit(Unit(tuple(steps)))
