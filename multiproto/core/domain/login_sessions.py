"""Login sessions: login, refresh, list, logout and revocation, for every wire.

The transaction that ends a session appends an event to the log, by which every
instance closes the session's connections.
"""

from __future__ import annotations

import hashlib
import secrets
from types import MappingProxyType
from typing import Callable, Sequence

from attrs import define, field, frozen

from ...base.timestamps import format_timestamp, parse_timestamp
from ...base.unicode_text import MAX_NORMALIZED_LENGTH
from ..client_info import ClientInfo
from ..errors import Forbidden, NotFound, RateLimited, Refusal, Unauthorized, ValidationError
from ..events import EventBuilder
from ..identity import Identity
from ..kept_accounts import email_lookup
from ..mailbox import email_key
from ..model import JsonObject, User, UserRecord
from ..ports import PasswordHasher, Store, TokenIssuer
from ..ratelimit.shared_bucket import SharedBuckets
from ..transactions import Event, Query, Row, Step, Unit
from ..validation import FieldValidator, RequestFields, check_id
from .audit_log import AuditRecorder, unknown_email_subject
from .failed_attempts import FailedAttempts
from .login_throttle import LoginThrottle

MAX_SESSIONS = 100  # active sessions of one user; the oldest ends when one more begins
MAX_KNOWN_NETWORKS = 100  # of one user, from which others' wrong passwords do not keep them out
# Seconds from its begin in which a session needs no password for what `confirm` is for.
UNCONFIRMED_PERIOD = 900.0
# Characters of an address at a login that are looked at: more than any has, also before its normalization.
MAX_TYPED_EMAIL = 2 * MAX_NORMALIZED_LENGTH
NO_LIMIT = 2**31 - 1  # for reading all of them: concurrent logins on several instances may exceed the limit


@frozen
class LoginResult:
    user: User
    token: str = field(repr=False)
    expires_in: str  # e.g. "15m"
    refresh_token: str = field(repr=False)

    def to_json(self) -> JsonObject:
        return {
            "user": self.user.to_json(),
            "token": self.token,
            "expiresIn": self.expires_in,
            "refreshToken": self.refresh_token,
        }


@frozen
class SessionInfo:
    """An active session, as its owner sees it."""

    id: str
    created_at: str  # RFC 3339, like all times here
    last_used_at: str  # when it was last refreshed, or began
    expires_at: str
    address: str | None  # where it was last used from
    client: str | None  # the user agent there
    current: bool  # whether it is the one that made the request

    def to_json(self) -> JsonObject:
        required: JsonObject = {
            "id": self.id,
            "createdAt": self.created_at,
            "lastUsedAt": self.last_used_at,
            "expiresAt": self.expires_at,
            "current": self.current,
        }
        optional = {"address": self.address, "client": self.client}
        return required | {name: value for name, value in optional.items() if value is not None}


class ConcurrentChange(Refusal):
    """A row was changed by another transaction between the read and the commit: read again, and retry."""


@define(eq=False, repr=False)
class LoginSessions:
    _store: Store
    _passwords: PasswordHasher
    _tokens: TokenIssuer
    _events: EventBuilder
    _audit_recorder: AuditRecorder
    _failed_attempts: FailedAttempts
    _now: Callable[[], float]  # seconds since the epoch
    _earliest_now: Callable[[], float]  # likewise: sessions expire by it
    _latest_now: Callable[[], float]  # likewise: their lifetimes count from it
    _new_id: Callable[[], str]
    _lifetime: float = 7 * 86400.0  # seconds that a session may be refreshed for
    # Called with the outcome of each login and refresh.
    _on_authentication: Callable[[str, str], object] = lambda method, outcome: None
    _login_throttle: LoginThrottle | None = None  # how often a password may be tried
    _refresh_limit: SharedBuckets | None = None  # how often a session may be refreshed

    async def login(self, fields: RequestFields, client: ClientInfo = ClientInfo()) -> LoginResult:
        """Raises `Unauthorized` with the same text, after the same amount of work, whatever was wrong.

        Raises `RateLimited` after too many attempts to log in to an account, whether or not it exists, and after
        too many failures from one address.
        """
        form = FieldValidator(fields)
        # A longer address is nobody's: a megabyte of it would be walked over for each key, hash and statement.
        email, password = form.text("email").strip()[:MAX_TYPED_EMAIL], form.text("password")
        try:
            form.check()
        except ValidationError:
            if self._login_throttle:
                self._login_throttle.check_address(client.address)
                await self._login_throttle.record_failure(client.address)
            raise
        record = await self._find_by_password(email, None, password, client)
        if record is None:
            raise Unauthorized("Invalid credentials")
        verified = record.password_hash
        while record is not None and record.password_hash == verified:
            try:
                return await self._create_session(record, client)
            except ConcurrentChange:
                record = await self._find_user(email)
        # The account was closed, or the password changed, meanwhile.
        raise Unauthorized("Invalid credentials")

    async def confirm(
        self, identity: Identity, email: str, password: str | None, client: ClientInfo = ClientInfo()
    ) -> None:
        """Check that this is the owner of the account with the address `email`, not somebody at their open session.

        A session that has just begun needs no `password`; a wrong one counts as a
        failed login.  Raises `Forbidden`, and what the limits of logins raise.
        """
        if password is None:
            if await self._has_just_begun(identity):
                return
            raise _forbidden_without_password(
                f"Send your currentPassword, as this session began more than {UNCONFIRMED_PERIOD / 60:.0f} minutes ago"
            )
        if self._login_throttle is not None:
            # Also from where the owner has been: a thief at an open session is there, or was by a refresh.
            self._login_throttle.check_address(client.address)
        # By the id, as the address may be changed at this moment.
        if await self._find_by_password(email, identity.user_id, password, client) is None:
            raise _forbidden_without_password("The currentPassword is wrong")

    async def refresh(self, fields: RequestFields, client: ClientInfo = ClientInfo()) -> LoginResult:
        """A new access token and refresh token for a refresh token.

        A refresh token is spent once its successor is used, so that a request whose
        response was lost can be repeated; its other successors are spent then, too.
        A spent one that is used again counts as stolen: its session is revoked.
        Raises `RateLimited` for a session that is refreshed too often.
        """
        form = FieldValidator(fields)
        token = form.text("refreshToken")
        form.check()
        while True:
            try:
                return await self._refresh(token, client)
            except ConcurrentChange:
                continue  # another refresh has spent the token since it was read

    async def _refresh(self, token: str, client: ClientInfo) -> LoginResult:
        """Raises `ConcurrentChange`."""
        hashed, at, now = _token_hash(token), format_timestamp(self._now()), self.expiry_time()
        row = await self._read_one(Query("refresh_by_hash", {"hash": hashed}))
        if row is None or row["revoked_at"] is not None or row["expires_at"] <= now:
            self._on_authentication("refresh", "invalid")
            if row is None or row["revoked_at"] is not None:  # every client has an expired one in time
                self._failed_attempts.record("refresh", "invalid", client, row["user_id"] if row else None)
            raise Unauthorized("Invalid refresh token")
        if row["spent_at"] is not None:
            self._on_authentication("refresh", "revoked")
            await self._revoke_for_reuse(row, client)
            raise Unauthorized("Invalid refresh token")
        if self._refresh_limit is not None and (wait := self._refresh_limit.acquire(row["session_id"])):
            raise RateLimited("This session is refreshed too often", "REFRESH_RATE", wait)
        owner = await self._read_one(Query("user_by_id", {"id": row["user_id"]}))
        if owner is None:  # the account was closed meanwhile
            raise Unauthorized("Invalid refresh token")
        ended = Unauthorized("Invalid refresh token")
        used = {"id": row["session_id"], "at": at, "now": now, **client.columns()}
        steps = _network_steps(row["user_id"], client, at)
        steps += (Step("session_used", used, expected_rows=1, miss=ended),)
        if row["parent"] is not None:
            steps += (
                Step("refresh_spend", {"hash": row["parent"], "at": at}),
                Step("refresh_spend_others", {"hash": hashed, "parent": row["parent"], "at": at}),
            )
        user = User.from_row(owner)
        login = await self._issue_tokens(user, row["session_id"], hashed, Unit(steps))
        self._on_authentication("refresh", "success")
        return login

    async def list_active(self, identity: Identity) -> tuple[SessionInfo, ...]:
        """One's own active sessions, newest first."""
        rows = await self._active_rows(identity.user_id, MAX_SESSIONS)
        return tuple(
            SessionInfo(
                row["id"],
                row["created_at"],
                row["used_at"],
                row["expires_at"],
                row["address"],
                row["client"],
                row["id"] == identity.session_id,
            )
            for row in rows
        )

    async def logout(self, identity: Identity, client: ClientInfo = ClientInfo()) -> None:
        """End the session of `identity`, on every connection of every instance."""
        at, user, session = format_timestamp(self._now()), identity.user_id, identity.session_id
        audit = self._audit_recorder.record_step("logout", client, actor=user, subject=user, session=session)
        steps = (Step("session_revoke", {"id": session, "at": at}), audit)
        await self._store.commit(Unit(steps, (self._events.sessions_revoked(user, [session], at),)))

    async def logout_all(
        self,
        identity: Identity,
        fields: RequestFields = MappingProxyType({}),
        client: ClientInfo = ClientInfo(),
    ) -> None:
        """End all sessions of the user at once, and with `credentials` in `fields` the user's credentials, too."""
        form = FieldValidator(fields)
        with_credentials = form.boolean("credentials")
        form.check()
        while True:
            ended, revocation = await self.revocation_of(identity.user_id, with_credentials=with_credentials)
            audit = self._audit_recorder.record_step(
                "logout",
                client,
                actor=identity.user_id,
                subject=identity.user_id,
                session=identity.session_id,
                details={"all": True, **ended},
            )
            try:
                await self._store.commit(Unit((*revocation.steps, audit), revocation.events))
                return
            except ConcurrentChange:
                continue  # each time, another login or logout has succeeded

    async def revoke(self, identity: Identity, id: str, client: ClientInfo = ClientInfo()) -> None:
        """End one of one's own sessions.  Raises `NotFound`, also for another user's session."""
        id = check_id(id)
        at, user = format_timestamp(self._now()), identity.user_id
        audit = self._audit_recorder.record_step(
            "session.revoked", client, actor=user, subject=user, session=id
        )
        params = {"id": id, "user_id": user, "at": at, "now": self.expiry_time()}
        steps = (Step("session_revoke_own", params, expected_rows=1, miss=NotFound.of("Session", id)), audit)
        await self._store.commit(Unit(steps, (self._events.sessions_revoked(user, [id], at),)))

    async def revocation_of(
        self, user_id: str, keep: str = "", with_credentials: bool = False
    ) -> tuple[dict[str, int], Unit]:
        """The steps and events that end all sessions of a user but `keep`, and how many they are, for the audit log.

        To be committed soon, together with the change that is the reason: fails with
        `ConcurrentChange` when other sessions or credentials have come by then.
        """
        at = format_timestamp(self._now())
        ids = [row["id"] for row in await self._active_rows(user_id) if row["id"] != keep]
        others = {"user_id": user_id, "keep": keep, "at": at, "now": self.expiry_time()}
        rest = Step("sessions_revoke_others", others, expected_rows=0, miss=ConcurrentChange(""))
        steps, events = self._revocation_steps(user_id, ids, at)
        ended, steps = {"sessions": len(ids)}, (*steps, rest)
        if with_credentials:
            found = (await self._store.read(Query("credentials_of_user", {"user_id": user_id}))).results[0]
            ids = [row["id"] for row in found]
            changed = ConcurrentChange("")
            steps += (
                Step("credentials_drop", {"user_id": user_id, "ids": ids}, len(ids), changed),
                # One that came meanwhile is not in the event, and its connections would stay.
                Step("credentials_drop_all", {"user_id": user_id}, expected_rows=0, miss=changed),
            )
            ended["credentials"] = len(ids)
            if ids:
                events += (self._events.sessions_revoked(user_id, ids, at),)
        return ended, Unit(steps, events)

    async def _find_by_password(
        self, email: str, user_id: str | None, password: str, client: ClientInfo
    ) -> UserRecord | None:
        """The user with this address, or with this id where it is known, if the password is right.

        Else the attempt counts as failed, and is recorded.  It is the same work whether or not there is such a user.
        """
        requester = client.requester(user_id or "")
        # First, so that in a storm of logins those that are refused cost no database read.
        self._passwords.check_capacity(requester)
        attempt = (
            await self._login_throttle.begin_attempt(email_key(email), client.address)
            if self._login_throttle
            else None
        )
        right = None
        try:
            record = await self._find_user(email, user_id)
            hashed = record.password_hash if record else None
            right = await self._passwords.verify(password, hashed, requester)
        finally:
            if self._login_throttle and attempt:
                await self._login_throttle.finish_attempt(attempt, right)
        self._on_authentication("password", "success" if right else "invalid")
        if right:
            return record
        subject = record.user.id if record else unknown_email_subject(email)
        self._failed_attempts.record("login", "invalid", client, subject)
        return None

    async def _has_just_begun(self, identity: Identity) -> bool:
        """Raises `NotFound` when the account was closed.

        Whether the session has ended since it was authenticated is not asked: what is done then comes before its end.
        """
        began, user = (
            await self._store.read(
                Query("session_began", {"id": identity.session_id, "user_id": identity.user_id}),
                Query("user_by_id", {"id": identity.user_id}),
            )
        ).results
        if not user:
            raise NotFound.of("User", identity.user_id)
        # In the future, by a clock that was ahead, is not just now either.
        ages = [abs(self._latest_now() - parse_timestamp(row["created_at"])) for row in began]
        return any(age <= UNCONFIRMED_PERIOD for age in ages)

    async def _create_session(self, record: UserRecord, client: ClientInfo) -> LoginResult:
        """Raises `ConcurrentChange`."""
        user, at, id = record.user, format_timestamp(self._now()), self._new_id()
        surplus = [row["id"] for row in await self._active_rows(user.id)][MAX_SESSIONS - 1 :]
        revocation, events = self._revocation_steps(user.id, surplus, at)
        steps = (*_network_steps(user.id, client, at), *revocation)
        session = {
            "id": id,
            "user_id": user.id,
            "password_hash": record.password_hash,
            "at": at,
            "now": self.expiry_time(),
            "expires_at": format_timestamp(self._latest_now() + self._lifetime),
            "most": MAX_SESSIONS,
            **client.columns(),
        }
        changed = ConcurrentChange("")
        steps += (
            Step("session_add", session, expected_rows=1, miss=changed, clash=changed),
            self._audit_recorder.record_step("login", client, actor=user.id, subject=user.id, session=id),
        )
        for surplus_id in surplus:
            details = {"why": f"more than {MAX_SESSIONS}"}
            steps += (
                self._audit_recorder.record_step(
                    "session.revoked", client, subject=user.id, session=surplus_id, details=details
                ),
            )
        return await self._issue_tokens(user, id, None, Unit(steps, events))

    def _revocation_steps(
        self, user_id: str, ids: Sequence[str], at: str
    ) -> tuple[tuple[Step, ...], tuple[Event, ...]]:
        """The steps and events that end these sessions; fail with `ConcurrentChange` when one of them has ended."""
        if not ids:
            return (), ()
        step = Step(
            "sessions_revoke", {"ids": ids, "at": at}, expected_rows=len(ids), miss=ConcurrentChange("")
        )
        return (step,), (self._events.sessions_revoked(user_id, ids, at),)

    async def _revoke_for_reuse(self, row: Row, client: ClientInfo) -> None:
        """A spent refresh token was used again: its session ends."""
        at, user, id = format_timestamp(self._now()), row["user_id"], row["session_id"]
        audit = self._audit_recorder.record_step(
            "refresh", client, subject=user, outcome="reused", session=id
        )
        steps = (Step("session_revoke", {"id": id, "at": at}), audit)
        await self._store.commit(Unit(steps, (self._events.sessions_revoked(user, [id], at),)))

    async def _issue_tokens(self, user: User, session: str, parent: str | None, unit: Unit) -> LoginResult:
        """Commit `unit` with a new refresh token of `session`, and give both tokens.

        Raises `ConcurrentChange` when `parent`, the hash of the token it is for, is spent.
        """
        secret = secrets.token_urlsafe(32)
        params = {
            "hash": _token_hash(secret),
            "session_id": session,
            "parent": parent,
            "at": format_timestamp(self._now()),
        }
        ended = Unauthorized("Invalid credentials")
        add = Step("refresh_add", params, expected_rows=1, miss=ConcurrentChange(""), clash=ended)
        await self._store.commit(Unit((*unit.steps, add), unit.events))
        token = self._tokens.issue(user.id, user.email, session)
        return LoginResult(user, token, self._tokens.lifetime, secret)

    def expiry_time(self) -> str:
        """Sessions that expire after this have not expired yet."""
        return format_timestamp(self._earliest_now())

    async def _active_rows(self, user_id: str, limit: int = NO_LIMIT) -> tuple[Row, ...]:
        query = Query("sessions_open", {"user_id": user_id, "now": self.expiry_time(), "limit": limit})
        return (await self._store.read(query)).results[0]

    async def _find_user(self, email: str, user_id: str | None = None) -> UserRecord | None:
        by_email = Query("user_by_email", email_lookup(email))
        row = await self._read_one(by_email if user_id is None else Query("user_by_id", {"id": user_id}))
        return UserRecord.from_row(row) if row else None

    async def _read_one(self, query: Query) -> Row | None:
        rows = (await self._store.read(query)).results[0]
        return rows[0] if rows else None


def hold_session(identity: Identity, now: str) -> Step:
    """The step that fails with `Unauthorized` if the session has ended since its request was authenticated."""
    params = {"id": identity.session_id, "user_id": identity.user_id, "now": now}
    return Step("session_hold", params, expected_rows=1, miss=Unauthorized("Token revoked", "revoked"))


def _network_steps(user_id: str, client: ClientInfo, at: str) -> tuple[Step, ...]:
    """Remember that the owner of the account is at the address of `client`: see `LoginThrottle`.

    They come before a session is changed: whoever closes an account locks the two in this order.
    """
    network = client.requester().network
    return (
        Step("network_seen", {"user_id": user_id, "network": network, "at": at}),
        Step("networks_forget", {"user_id": user_id, "most": MAX_KNOWN_NETWORKS}),
    )


def _forbidden_without_password(message: str) -> Forbidden:
    return Forbidden(message, {"errors": [{"path": ["currentPassword"], "message": message}]})


def _token_hash(token: str) -> str:
    """The hash by which a refresh token is stored: it has 256 random bits, so a fast one is enough."""
    return hashlib.sha256(token.encode()).hexdigest()
