"""Sessions: begun by a login, prolonged, listed and ended.  Every wire calls these and no others.

A session that ends is told of on the log, in the transaction that ends it:
`Hub` closes what lives on it, on every instance.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Callable, Mapping, Sequence

from attrs import define, field, frozen

from .attempts import Attempts
from .audit import Audit, stranger
from .client import Client
from .errors import NotFound, Refusal, Unauthorized
from .events import Events
from .forms import Form, check_id, email_key
from .hosts import network
from .logins import Logins
from .model import Credentials, Public, User, timestamp
from .ports import Event, Identity, Passwords, Query, Row, Step, Store, Tokens, Unit

MOST = 100  # sessions of one user that have not ended; the oldest ends when one more begins
ALL = 2**31 - 1  # of them, where it may be more: instances that log in at once may be one over, each

Fields = Mapping[str, object]  # a request's, unchecked


@frozen
class Login:
    user: User
    token: str = field(repr=False)
    expires_in: str  # e.g. "15m"
    refresh_token: str = field(repr=False)


@frozen
class Opened:
    """A session that has not ended, as its owner sees it."""

    id: str
    created_at: str  # RFC 3339, like all times here
    used_at: str  # when it was last refreshed, or began
    expires_at: str
    address: str | None  # where it was last used from
    client: str | None  # what that called itself
    current: bool  # whether it is the one that asks

    def public(self) -> Public:
        shown: Public = {
            "id": self.id,
            "createdAt": self.created_at,
            "lastUsedAt": self.used_at,
            "expiresAt": self.expires_at,
            "current": self.current,
        }
        known = {"address": self.address, "client": self.client}
        return shown | {name: value for name, value in known.items() if value is not None}


class Overtaken(Refusal):
    """Somebody changed a row between our look and our change: look again."""


@define(eq=False, repr=False)
class Sessions:
    _store: Store
    _passwords: Passwords
    _tokens: Tokens
    _events: Events
    _audit: Audit
    _attempts: Attempts
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]
    _lifetime: float = 7 * 86400.0  # seconds that a session may be refreshed for
    _observed: Callable[[str, str], object] = lambda method, outcome: None  # of each login and refresh
    _logins: Logins | None = None  # how often a password may be tried

    async def login(self, fields: Fields, client: Client = Client()) -> Login:
        """Raises `Unauthorized` with one text, after one amount of work, whatever was wrong.

        `RateLimited`: too many have tried to log in to this account, be there one or not.
        """
        form = Form(fields)
        email, password = form.secret("email"), form.secret("password")
        form.check()
        host, key = client.address, email_key(email.strip())
        self._passwords.check_room(network(host))  # a storm is not to cost a look into the database each
        attempt = await self._logins.begin(key, host) if self._logins else None
        right = None
        try:
            known = await self._known(email)
            hashed = known.password_hash if known else None
            right = await self._passwords.verify(password, hashed, network(host))
        finally:
            if self._logins and attempt:
                await self._logins.settle(attempt, right)
        self._observed("password", "success" if right else "invalid")
        if known is None or not right:
            subject = known.user.id if known else stranger(email)
            self._attempts.failed("login", "invalid", client, subject)
            raise Unauthorized("Invalid credentials")
        verified = known.password_hash
        while known is not None and known.password_hash == verified:
            try:
                return await self._begin(known, client)
            except Overtaken:
                known = await self._known(email)
        raise Unauthorized("Invalid credentials")  # closed, or another password, meanwhile

    async def refresh(self, fields: Fields, client: Client = Client()) -> Login:
        """A new pair for a refresh token.

        The token given is used up once its successor is used, so that a lost
        reply may be asked for again; any other successor is used up then too.
        A used-up one is taken for stolen: it ends its session.
        """
        form = Form(fields)
        token = form.secret("refreshToken")
        form.check()
        hashed, now = _digest(token), timestamp(self._now())
        row = await self._one(Query("refresh_by_hash", {"hash": hashed}))
        if row is None or row["revoked_at"] is not None or row["expires_at"] <= now:
            self._observed("refresh", "invalid")
            if row is None or row["revoked_at"] is not None:  # one that has run out is everyday life
                self._attempts.failed("refresh", "invalid", client, row["user_id"] if row else None)
            raise Unauthorized("Invalid refresh token")
        if row["spent_at"] is not None:
            self._observed("refresh", "revoked")
            await self._stolen(row, client)
            raise Unauthorized("Invalid refresh token")
        owner = await self._one(Query("user_by_id", {"id": row["user_id"]}))
        if owner is None:  # the account was closed meanwhile
            raise Unauthorized("Invalid refresh token")
        self._observed("refresh", "success")
        ended = Unauthorized("Invalid refresh token")
        used = {"id": row["session_id"], "at": now, **client.columns()}
        steps: tuple[Step, ...] = (Step("session_used", used, rows=1, miss=ended),)
        if row["parent"] is not None:
            steps += (
                Step("refresh_spend", {"hash": row["parent"], "at": now}),
                Step("refresh_spend_others", {"hash": hashed, "parent": row["parent"], "at": now}),
            )
        user = User.of(owner)
        login = await self._admit(user, row["session_id"], hashed, Unit(steps))
        if self._logins:
            await self._logins.welcome(email_key(user.email), client.address)
        return login

    async def opened(self, who: Identity) -> tuple[Opened, ...]:
        """Those of `who` that have not ended, newest first."""
        rows = await self._open(who.user_id, timestamp(self._now()), MOST)
        return tuple(
            Opened(
                row["id"],
                row["created_at"],
                row["used_at"],
                row["expires_at"],
                row["address"],
                row["client"],
                row["id"] == who.session_id,
            )
            for row in rows
        )

    async def logout(self, who: Identity, client: Client = Client()) -> None:
        """End the session that `who` came with, on every connection of every instance."""
        at = timestamp(self._now())
        note = self._audit.note(
            "logout", client, actor=who.user_id, subject=who.user_id, session=who.session_id
        )
        steps = (Step("session_revoke", {"id": who.session_id, "at": at}), note)
        await self._store.commit(
            Unit(steps, (self._events.sessions_revoked(who.user_id, [who.session_id], at),))
        )

    async def logout_all(self, who: Identity, client: Client = Client()) -> None:
        """The same with all sessions of `who`, at once."""
        while True:
            ids, ending = await self.ending(who.user_id)
            note = self._audit.note(
                "logout",
                client,
                actor=who.user_id,
                subject=who.user_id,
                session=who.session_id,
                details={"all": True, "sessions": len(ids)},
            )
            try:
                await self._store.commit(Unit((*ending.steps, note), ending.events))
                return
            except Overtaken:
                continue  # each time, somebody logged in or out

    async def revoke(self, who: Identity, id: str, client: Client = Client()) -> None:
        """End one of the sessions of `who`.  Raises `NotFound` for another's as for none."""
        id = check_id(id)
        at, user = timestamp(self._now()), who.user_id
        note = self._audit.note("session.revoked", client, actor=user, subject=user, session=id)
        end = {"id": id, "user_id": user, "at": at}
        steps = (Step("session_revoke_own", end, rows=1, miss=NotFound.of("Session", id)), note)
        await self._store.commit(Unit(steps, (self._events.sessions_revoked(user, [id], at),)))

    async def ending(self, user_id: str, keep: str = "") -> tuple[Sequence[str], Unit]:
        """The ids of all sessions of a user but `keep`, and what ends them.

        To be committed soon, with whatever is the reason: it misses with
        `Overtaken` when by then there are others.
        """
        at = timestamp(self._now())
        ids = [row["id"] for row in await self._open(user_id, at) if row["id"] != keep]
        others = {"user_id": user_id, "keep": keep, "at": at}
        rest = Step("sessions_revoke_others", others, rows=0, miss=Overtaken(""))
        steps, events = self._end(user_id, ids, at)
        return ids, Unit((*steps, rest), events)

    async def _begin(self, known: Credentials, client: Client) -> Login:
        """Raises `Overtaken`."""
        user, now, id = known.user, self._now(), self._new_id()
        at = timestamp(now)
        surplus = [row["id"] for row in await self._open(user.id, at)][MOST - 1 :]
        steps, events = self._end(user.id, surplus, at)
        session = {
            "id": id,
            "user_id": user.id,
            "password_hash": known.password_hash,
            "at": at,
            "expires_at": timestamp(now + self._lifetime),
            "most": MOST,
            **client.columns(),
        }
        overtaken = Overtaken("")
        steps += (
            Step("session_add", session, rows=1, miss=overtaken, clash=overtaken),
            self._audit.note("login", client, actor=user.id, subject=user.id, session=id),
        )
        for ended in surplus:
            why = {"why": f"more than {MOST}"}
            steps += (
                self._audit.note("session.revoked", client, subject=user.id, session=ended, details=why),
            )
        return await self._admit(user, id, None, Unit(steps, events))

    def _end(self, user_id: str, ids: Sequence[str], at: str) -> tuple[tuple[Step, ...], tuple[Event, ...]]:
        """What ends just these; misses with `Overtaken` when one of them has."""
        if not ids:
            return (), ()
        step = Step("sessions_revoke", {"ids": ids, "at": at}, rows=len(ids), miss=Overtaken(""))
        return (step,), (self._events.sessions_revoked(user_id, ids, at),)

    async def _stolen(self, row: Row, client: Client) -> None:
        """A used-up refresh token was used: nobody goes on with its session."""
        at, user, id = timestamp(self._now()), row["user_id"], row["session_id"]
        note = self._audit.note("refresh", client, subject=user, outcome="reused", session=id)
        steps = (Step("session_revoke", {"id": id, "at": at}), note)
        await self._store.commit(Unit(steps, (self._events.sessions_revoked(user, [id], at),)))

    async def _admit(self, user: User, session: str, parent: str | None, unit: Unit) -> Login:
        """Do `unit`, keep a new refresh token of `session`, and hand out the pair."""
        secret = secrets.token_urlsafe(32)
        kept = {
            "hash": _digest(secret),
            "session_id": session,
            "parent": parent,
            "at": timestamp(self._now()),
        }
        gone = Unauthorized("Invalid credentials")
        add = Step("refresh_add", kept, rows=1, miss=gone, clash=gone)
        await self._store.commit(Unit((*unit.steps, add), unit.events))
        token = self._tokens.issue(user.id, user.email, session)
        return Login(user, token, self._tokens.lifetime, secret)

    async def _open(self, user_id: str, now: str, limit: int = ALL) -> tuple[Row, ...]:
        query = Query("sessions_open", {"user_id": user_id, "now": now, "limit": limit})
        return (await self._store.read(query)).results[0]

    async def _known(self, email: str) -> Credentials | None:
        row = await self._one(Query("user_by_email", {"email_key": email_key(email.strip())}))
        return Credentials.of(row) if row else None

    async def _one(self, query: Query) -> Row | None:
        rows = (await self._store.read(query)).results[0]
        return rows[0] if rows else None


def _digest(token: str) -> str:
    """How a refresh token is kept: it has 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()
