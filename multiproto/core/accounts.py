"""Accounts: registered, logged in, read, amended and closed.  Every wire calls these and no others."""

from __future__ import annotations

import hashlib
import secrets
from typing import Callable, Iterable, Mapping

from attrs import define, field, frozen

from .errors import Conflict, Forbidden, Invalid, NotFound, Refusal, Unauthorized
from .events import Events
from .forms import Form, is_uuid, paging
from .hosts import network
from .logins import Logins
from .model import Credentials, Kept, PageOf, User, timestamp
from .ports import Identity, Passwords, Query, Row, Step, Store, Tokens, Unit

Fields = Mapping[str, object]  # a request's, unchecked


@frozen
class Login:
    user: User
    token: str = field(repr=False)
    expires_in: str  # e.g. "15m"
    refresh_token: str = field(repr=False)


class _Overtaken(Refusal):
    """Somebody amended the row between our look and our change."""


@define(eq=False, repr=False)
class Accounts:
    _store: Store
    _passwords: Passwords
    _tokens: Tokens
    _events: Events
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]
    _session_lifetime: float = 7 * 86400.0  # seconds that a session may be refreshed for
    _observed: Callable[[str, str], object] = lambda method, outcome: None  # of each login and refresh
    _ended: Callable[[str], object] = lambda id: None  # told at once of a user or session that has no rights
    _logins: Logins | None = None  # how often a password may be tried

    async def register(self, fields: Fields, host: str = "") -> Kept[User]:
        """`host` is the client's address.

        Raises `Invalid`, or `Conflict` when the address is taken in any spelling of its case.
        """
        form = Form(fields)
        email, name, password = form.email(), form.name(), form.password()
        form.check()
        hashed = await self._passwords.hash(password, network(host))
        at = timestamp(self._now())
        user = User(self._new_id(), email, name, at, at)
        params = _columns(user) | {"id": user.id, "password_hash": hashed, "at": at}
        taken = Conflict("Email already registered")
        add = Step("user_add", params, rows=1, miss=taken, clash=taken)
        return Kept(user, await self._store.commit(Unit((add,), (self._events.user_created(user),))))

    async def login(self, fields: Fields, host: str = "") -> Login:
        """Raises `Unauthorized` with one text, after one amount of work, whatever was wrong.

        `RateLimited`: too many have tried to log in to this account, be there one or not.
        """
        form = Form(fields)
        email, password = form.secret("email"), form.secret("password")
        form.check()
        key = _key(email.strip())
        self._passwords.check_room(network(host))  # a storm is not to cost a look into the database each
        attempt = await self._logins.begin(key, host) if self._logins else None
        right = None
        try:
            found = await self._one(Query("user_by_email", {"email_key": key}))
            known = _credentials(found) if found else None
            hashed = known.password_hash if known else None
            right = await self._passwords.verify(password, hashed, network(host))
        finally:
            if self._logins and attempt:
                await self._logins.settle(attempt, right)
        self._observed("password", "success" if right else "invalid")
        if known is None or not right:
            raise Unauthorized("Invalid credentials")
        now = self._now()
        session = {
            "id": self._new_id(),
            "user_id": known.user.id,
            "at": timestamp(now),
            "expires_at": timestamp(now + self._session_lifetime),
        }
        gone = Unauthorized("Invalid credentials")  # the account was closed meanwhile
        steps = (Step("session_add", session, rows=1, miss=gone, clash=gone),)
        return await self._admit(known.user, str(session["id"]), None, steps)

    async def refresh(self, fields: Fields, host: str = "") -> Login:
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
            raise Unauthorized("Invalid refresh token")
        if row["spent_at"] is not None:
            self._observed("refresh", "revoked")
            await self._revoke(row["user_id"], row["session_id"])
            raise Unauthorized("Invalid refresh token")
        self._observed("refresh", "success")
        spend: tuple[Step, ...] = ()
        if row["parent"] is not None:
            spend = (
                Step("refresh_spend", {"hash": row["parent"], "at": now}),
                Step("refresh_spend_others", {"hash": hashed, "parent": row["parent"], "at": now}),
            )
        user = (await self._known(row["user_id"])).user
        login = await self._admit(user, row["session_id"], hashed, spend)
        if self._logins:
            await self._logins.welcome(_key(user.email), host)
        return login

    async def logout(self, who: Identity) -> None:
        """End the session that `who` came with, on every connection of every instance."""
        await self._revoke(who.user_id, who.session_id)

    async def read(self, id: str) -> Kept[User]:
        if not is_uuid(id):
            raise Invalid.at("id", "Must be a UUID")
        snapshot = await self._store.read(Query("user_by_id", {"id": id}))
        if not snapshot.results[0]:
            raise NotFound.of("User", id)
        return Kept(_user(snapshot.results[0][0]), snapshot.cursor)

    async def read_many(self, ids: Iterable[str]) -> dict[str, User]:
        """Those of `ids` that exist, in one statement."""
        snapshot = await self._store.read(Query("users_by_ids", {"ids": list(ids)}))
        return {row["id"]: _user(row) for row in snapshot.results[0]}

    async def page(self, fields: Fields) -> PageOf[User]:
        form = Form(fields)
        page, limit = paging(form)
        form.check()
        snapshot = await self._store.read(
            Query("users_page", {"limit": limit, "offset": (page - 1) * limit}), Query("users_count")
        )
        rows, count = snapshot.results
        return PageOf(tuple(map(_user, rows)), page, limit, count[0]["total"], snapshot.cursor)

    async def amend(self, who: Identity, id: str, fields: Fields) -> Kept[User]:
        """Change one's own address, name or password; at least one of them."""
        form = Form(fields)
        email, name, password = form.email(False), form.name(False), form.password(False)
        if not any(map(form.has, ("email", "name", "password"))):
            form.fault(None, "At least one of email, name, password is required")
        if not is_uuid(id):
            form.fault("id", "Must be a UUID")
        form.check()
        if id != who.user_id:
            raise Forbidden("This account is someone else's")
        hashed = await self._passwords.hash(password, id) if password else ""
        while True:
            known = await self._known(id)
            at = max(timestamp(self._now()), known.user.updated_at)
            user = User(id, email or known.user.email, name or known.user.name, known.user.created_at, at)
            try:
                return Kept(user, await self._change(known, user, hashed or known.password_hash))
            except _Overtaken:
                continue  # each time, somebody else's change succeeded

    async def close(self, who: Identity, id: str) -> str:
        """Delete one's own account, its messages, and what the log tells of both; gives the cursor."""
        if not is_uuid(id):
            raise Invalid.at("id", "Must be a UUID")
        if id != who.user_id:
            raise Forbidden("This account is someone else's")
        steps = (
            Step("log_blank_account", {"id": id}),
            Step("user_drop", {"id": id}, rows=1, miss=NotFound.of("User", id)),
        )
        event = self._events.user_deleted(id, timestamp(self._now()))
        cursor = await self._store.commit(Unit(steps, (event,)))
        self._ended(id)
        return cursor

    async def _change(self, known: Credentials, user: User, hashed: str) -> str:
        params = _columns(user) | {
            "id": user.id,
            "version": known.version,
            "password_hash": hashed,
            "at": user.updated_at,
        }
        taken = Conflict("Email already registered")
        step = Step("user_amend", params, rows=1, miss=_Overtaken(""), clash=taken)
        return await self._store.commit(Unit((step,), (self._events.user_updated(user),)))

    async def _admit(self, user: User, session: str, parent: str | None, steps: tuple[Step, ...]) -> Login:
        """Keep a new refresh token of `session` behind `steps`, and hand out the pair."""
        secret = secrets.token_urlsafe(32)
        kept = {
            "hash": _digest(secret),
            "session_id": session,
            "parent": parent,
            "at": timestamp(self._now()),
        }
        gone = Unauthorized("Invalid credentials")
        add = Step("refresh_add", kept, rows=1, miss=gone, clash=gone)
        await self._store.commit(Unit((*steps, add)))
        token = self._tokens.issue(user.id, user.email, session)
        return Login(user, token, self._tokens.lifetime, secret)

    async def _revoke(self, user_id: str, session_id: str) -> None:
        at = timestamp(self._now())
        event = self._events.session_revoked(user_id, session_id, at)
        await self._store.commit(Unit((Step("session_revoke", {"id": session_id, "at": at}),), (event,)))
        self._ended(session_id)

    async def _known(self, id: str) -> Credentials:
        row = await self._one(Query("user_by_id", {"id": id}))
        if row is None:
            raise NotFound.of("User", id)
        return _credentials(row)

    async def _one(self, query: Query) -> Row | None:
        rows = (await self._store.read(query)).results[0]
        return rows[0] if rows else None


def _key(email: str) -> str:
    """What makes two addresses the same: all but their case."""
    return email.lower()


def _digest(token: str) -> str:
    """How a refresh token is kept: it has 256 random bits, so a fast hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def _columns(user: User) -> dict[str, object]:
    return {"email": user.email, "email_key": _key(user.email), "name": user.name}


def _user(row: Row) -> User:
    return User(row["id"], row["email"], row["name"], row["created_at"], row["updated_at"])


def _credentials(row: Row) -> Credentials:
    return Credentials(_user(row), row["password_hash"], row["version"])
