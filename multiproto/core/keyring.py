"""Credentials of a user's devices and services: made, listed and revoked.  Every wire calls these and no others.

A credential is not a login: it can do what its grants say on topics, until it
expires or is revoked, and nothing else.  In particular it can't make another.
"""

from __future__ import annotations

from typing import Callable, Mapping

from attrs import define, field, frozen

from . import grants
from .access import check_whole
from .audit import Audit
from .client import Client
from .errors import Conflict, Invalid, NotFound
from .events import Events
from .forms import Form, check_id
from .model import Public, timestamp
from .ports import Identity, Mint, Query, Row, Step, Store, Unit
from .rules import Grant

MOST = 100  # of one user
MOST_DAYS = 3650  # that one may be good for, if it is to expire at all

Fields = Mapping[str, object]  # a request's, unchecked


@frozen
class Credential:
    id: str
    name: str  # of the device: one topic word
    grants: tuple[Grant, ...]
    created_at: str  # RFC 3339
    expires_at: str | None
    last_used_at: str | None = None
    last_used_from: str | None = None  # an address

    def public(self) -> Public:
        """Absent fields are left out."""
        times: Public = {"expiresAt": self.expires_at, "lastUsedAt": self.last_used_at}
        more = times | {"lastUsedFrom": self.last_used_from}
        shown: Public = {"id": self.id, "name": self.name, "grants": grants.shown(self.grants)}
        shown["createdAt"] = self.created_at
        return shown | {name: value for name, value in more.items() if value is not None}


@frozen
class Made:
    credential: Credential
    secret: str = field(repr=False)  # nobody can show it again

    def public(self) -> Public:
        return self.credential.public() | {"credential": self.secret}


@define(eq=False, repr=False)
class Keyring:
    _store: Store
    _mint: Mint
    _events: Events
    _audit: Audit
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]

    async def make(self, who: Identity, fields: Fields, client: Client = Client()) -> Made:
        """Raises `Invalid`, or `Conflict` when the name is taken or there are too many."""
        check_whole(who)
        form = Form(fields)
        name, lifetime = form.device(), form.duration("expiresIn", MOST_DAYS)
        granted: tuple[Grant, ...] = ()
        try:
            granted = grants.asked(fields.get("grants"))
        except Invalid as invalid:
            form.admit(invalid)
        form.check()
        now = self._now()
        expires_at = None if lifetime is None else timestamp(now + lifetime)
        made = Credential(self._new_id(), name, granted, timestamp(now), expires_at)
        secret, hashed = self._mint.make(made.id)
        params = {
            "id": made.id,
            "user_id": who.user_id,
            "name": name,
            "hash": hashed,
            "grants": grants.kept(granted),
            "at": made.created_at,
            "expires_at": expires_at,
            "most": MOST,
        }
        full = Conflict(f"You have {MOST} credentials: revoke one that is not needed")
        taken = Conflict("You have a credential of this name")
        steps = (
            Step("credentials_drop_expired", {"user_id": who.user_id, "now": made.created_at}),
            Step("credential_add", params, rows=1, miss=full, clash=taken),
            self._note("credential.created", who, made.id, client),
        )
        await self._store.commit(Unit(steps))
        return Made(made, secret)

    async def all(self, who: Identity) -> tuple[Credential, ...]:
        """One's own that are worth something, newest first."""
        check_whole(who)
        now = timestamp(self._now())
        snapshot = await self._store.read(Query("credentials_of_user", {"user_id": who.user_id}))
        found = map(_credential, snapshot.results[0])
        return tuple(each for each in found if each.expires_at is None or each.expires_at > now)

    async def revoke(self, who: Identity, id: str, client: Client = Client()) -> None:
        """End one of one's own, on every connection of every instance; its name is free again."""
        check_whole(who)
        id = check_id(id)
        gone = NotFound.of("Credential", id)
        drop = Step("credential_drop", {"id": id, "user_id": who.user_id}, rows=1, miss=gone)
        event = self._events.sessions_revoked(who.user_id, [id], timestamp(self._now()))
        await self._store.commit(Unit((drop, self._note("credential.revoked", who, id, client)), (event,)))

    def _note(self, action: str, who: Identity, id: str, client: Client) -> Step:
        details = {"credential": id}
        return self._audit.note(
            action, client, actor=who.user_id, subject=who.user_id, session=who.session_id, details=details
        )


def _credential(row: Row) -> Credential:
    return Credential(
        row["id"],
        row["name"],
        grants.read(row["grants"]),
        row["created_at"],
        row["expires_at"],
        row["last_used_at"],
        row["last_used_from"],
    )
