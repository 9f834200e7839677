"""Credentials of a user's devices and services: made, listed and revoked.  Every wire calls these and no others.

A credential is not a login: it can do what its grants say on topics, until it
expires or is revoked, and nothing else.  In particular it can't make another.
"""

from __future__ import annotations

from typing import Callable, Mapping

from attrs import define, field, frozen

from ..client_info import ClientInfo
from ..errors import Conflict, NotFound, ValidationError
from ..events import EventBuilder
from ..identity import Grant, Identity, check_full_access
from ..model import JsonObject, format_timestamp
from ..ports import CredentialIssuer, Store
from ..pubsub import permissions
from ..transactions import Query, Row, Step, Unit
from ..validation import FieldValidator, check_id
from .audit_log import AuditRecorder

MAX_CREDENTIALS = 100  # of one user
MAX_LIFETIME_DAYS = 3650  # that one may be good for, if it is to expire at all

RequestFields = Mapping[str, object]  # a request's, unchecked


@frozen
class Credential:
    id: str
    name: str  # of the device: one topic word
    grants: tuple[Grant, ...]
    created_at: str  # RFC 3339
    expires_at: str | None
    last_used_at: str | None = None
    last_used_from: str | None = None  # an address

    def to_json(self) -> JsonObject:
        """Absent fields are left out."""
        times: JsonObject = {"expiresAt": self.expires_at, "lastUsedAt": self.last_used_at}
        more = times | {"lastUsedFrom": self.last_used_from}
        shown: JsonObject = {"id": self.id, "name": self.name, "grants": permissions.to_json(self.grants)}
        shown["createdAt"] = self.created_at
        return shown | {name: value for name, value in more.items() if value is not None}


@frozen
class NewCredential:
    credential: Credential
    secret: str = field(repr=False)  # nobody can show it again

    def to_json(self) -> JsonObject:
        return self.credential.to_json() | {"credential": self.secret}


@define(eq=False, repr=False)
class CredentialStore:
    _store: Store
    _issuer: CredentialIssuer
    _events: EventBuilder
    _audit_recorder: AuditRecorder
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]

    async def create(
        self, who: Identity, fields: RequestFields, client: ClientInfo = ClientInfo()
    ) -> NewCredential:
        """Raises `ValidationError`, or `Conflict` when the name is taken or there are too many."""
        check_full_access(who)
        form = FieldValidator(fields)
        name, lifetime = form.credential_name(), form.duration("expiresIn", MAX_LIFETIME_DAYS)
        granted: tuple[Grant, ...] = ()
        try:
            granted = permissions.parse(fields.get("grants"))
        except ValidationError as invalid:
            form.add_errors(invalid)
        form.check()
        now = self._now()
        expires_at = None if lifetime is None else format_timestamp(now + lifetime)
        made = Credential(self._new_id(), name, granted, format_timestamp(now), expires_at)
        secret, hashed = self._issuer.issue(made.id)
        params = {
            "id": made.id,
            "user_id": who.user_id,
            "name": name,
            "hash": hashed,
            "grants": permissions.serialize(granted),
            "at": made.created_at,
            "expires_at": expires_at,
            "most": MAX_CREDENTIALS,
        }
        full = Conflict(f"You have {MAX_CREDENTIALS} credentials: revoke one that is not needed")
        taken = Conflict("You have a credential of this name")
        steps = (
            Step("credentials_drop_expired", {"user_id": who.user_id, "now": made.created_at}),
            Step("credential_add", params, expected_rows=1, miss=full, clash=taken),
            self._audit_step("credential.created", who, made.id, client),
        )
        await self._store.commit(Unit(steps))
        return NewCredential(made, secret)

    async def list_active(self, who: Identity) -> tuple[Credential, ...]:
        """One's own that are worth something, newest first."""
        check_full_access(who)
        now = format_timestamp(self._now())
        snapshot = await self._store.read(Query("credentials_of_user", {"user_id": who.user_id}))
        found = map(_credential_from_row, snapshot.results[0])
        return tuple(each for each in found if each.expires_at is None or each.expires_at > now)

    async def revoke(self, who: Identity, id: str, client: ClientInfo = ClientInfo()) -> None:
        """End one of one's own, on every connection of every instance; its name is free again."""
        check_full_access(who)
        id = check_id(id)
        gone = NotFound.of("Credential", id)
        drop = Step("credential_drop", {"id": id, "user_id": who.user_id}, expected_rows=1, miss=gone)
        event = self._events.sessions_revoked(who.user_id, [id], format_timestamp(self._now()))
        await self._store.commit(
            Unit((drop, self._audit_step("credential.revoked", who, id, client)), (event,))
        )

    def _audit_step(self, action: str, who: Identity, id: str, client: ClientInfo) -> Step:
        details = {"credential": id}
        return self._audit_recorder.record_step(
            action, client, actor=who.user_id, subject=who.user_id, session=who.session_id, details=details
        )


def _credential_from_row(row: Row) -> Credential:
    return Credential(
        row["id"],
        row["name"],
        permissions.deserialize(row["grants"]),
        row["created_at"],
        row["expires_at"],
        row["last_used_at"],
        row["last_used_from"],
    )
