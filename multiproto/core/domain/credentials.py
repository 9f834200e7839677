"""Credentials of a user's devices and services: creating, listing and revoking them, for every wire.

A credential is not a login: it can do what its grants permit on topics, until it
expires or is revoked, and nothing else.  In particular it can't create another.
"""

from __future__ import annotations

from typing import Callable

from attrs import define, field, frozen

from ...base.timestamps import format_timestamp
from ..client_info import ClientInfo
from ..errors import Conflict, NotFound, ValidationError
from ..events import EventBuilder
from ..identity import Grant, Identity, check_full_access
from ..model import JsonObject
from ..ports import CredentialIssuer, Store
from ..pubsub import permissions
from ..transactions import Query, Row, Step, Unit
from ..validation import FieldValidator, RequestFields, check_id
from .audit_log import AuditRecorder
from .login_sessions import hold_session

MAX_CREDENTIALS = 100  # of one user
MAX_LIFETIME_DAYS = 3650  # of a credential that expires at all


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
        """Without the fields that are `None`."""
        required: JsonObject = {
            "id": self.id,
            "name": self.name,
            "grants": permissions.to_json(self.grants),
            "createdAt": self.created_at,
        }
        optional: JsonObject = {
            "expiresAt": self.expires_at,
            "lastUsedAt": self.last_used_at,
            "lastUsedFrom": self.last_used_from,
        }
        return required | {name: value for name, value in optional.items() if value is not None}


@frozen
class NewCredential:
    credential: Credential
    secret: str = field(repr=False)  # shown once: only its hash is stored

    def to_json(self) -> JsonObject:
        return self.credential.to_json() | {"credential": self.secret}


@define(eq=False, repr=False)
class CredentialStore:
    _store: Store
    _issuer: CredentialIssuer
    _events: EventBuilder
    _audit_recorder: AuditRecorder
    _now: Callable[[], float]  # seconds since the epoch
    _earliest_now: Callable[[], float]  # likewise: credentials expire by it
    _latest_now: Callable[[], float]  # likewise: their lifetimes count from it
    _new_id: Callable[[], str]

    async def create(
        self, identity: Identity, fields: RequestFields, client: ClientInfo = ClientInfo()
    ) -> NewCredential:
        """Raises `ValidationError`, or `Conflict` when the name is taken or there are too many.

        Raises `Unauthorized` when the session has ended meanwhile: what ends it may end all credentials, too.
        """
        check_full_access(identity)
        form = FieldValidator(fields)
        name, lifetime = form.credential_name(), form.duration("expiresIn", MAX_LIFETIME_DAYS)
        grants: tuple[Grant, ...] = ()
        try:
            grants = permissions.parse(form.value("grants"), identity.user_id)
        except ValidationError as invalid:
            form.add_errors(invalid)
        form.check()
        now = self._now()
        expires_at = None if lifetime is None else format_timestamp(self._latest_now() + lifetime)
        credential = Credential(self._new_id(), name, grants, format_timestamp(now), expires_at)
        secret, hashed = self._issuer.issue(credential.id)
        params = {
            "id": credential.id,
            "user_id": identity.user_id,
            "name": name,
            "hash": hashed,
            "grants": permissions.serialize(grants),
            "at": credential.created_at,
            "expires_at": expires_at,
            "most": MAX_CREDENTIALS,
        }
        too_many = Conflict(f"You have {MAX_CREDENTIALS} credentials: revoke one that is not needed")
        taken = Conflict("You have a credential of this name")
        earliest = format_timestamp(self._earliest_now())
        steps = (
            hold_session(identity, earliest),
            Step("credentials_drop_expired", {"user_id": identity.user_id, "now": earliest}),
            Step("credential_add", params, expected_rows=1, miss=too_many, clash=taken),
            self._audit_step("credential.created", identity, credential.id, client),
        )
        await self._store.commit(Unit(steps))
        return NewCredential(credential, secret)

    async def list_active(self, identity: Identity) -> tuple[Credential, ...]:
        """One's own credentials that have not expired, newest first."""
        check_full_access(identity)
        now = format_timestamp(self._earliest_now())
        snapshot = await self._store.read(Query("credentials_of_user", {"user_id": identity.user_id}))
        found = map(_credential_from_row, snapshot.results[0])
        return tuple(each for each in found if each.expires_at is None or each.expires_at > now)

    async def revoke(self, identity: Identity, id: str, client: ClientInfo = ClientInfo()) -> None:
        """End one of one's own credentials, on every connection of every instance; its name is free again."""
        check_full_access(identity)
        id = check_id(id)
        unknown = NotFound.of("Credential", id)
        drop = Step("credential_drop", {"id": id, "user_id": identity.user_id}, expected_rows=1, miss=unknown)
        event = self._events.sessions_revoked(identity.user_id, [id], format_timestamp(self._now()))
        await self._store.commit(
            Unit((drop, self._audit_step("credential.revoked", identity, id, client)), (event,))
        )

    def _audit_step(self, action: str, identity: Identity, id: str, client: ClientInfo) -> Step:
        user = identity.user_id
        return self._audit_recorder.record_step(
            action, client, actor=user, subject=user, session=identity.session_id, details={"credential": id}
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
