"""Accounts: registering, reading, updating and closing them, for every wire."""

from __future__ import annotations

from functools import partial
from types import MappingProxyType
from typing import Callable, Iterable, Mapping

from attrs import define, evolve

from ...base.timestamps import format_timestamp
from ..client_info import ClientInfo
from ..errors import Conflict, Forbidden, NotFound, ValidationError
from ..events import EventBuilder
from ..identity import Identity
from ..mailbox import email_key
from ..model import PageOf, User, UserRecord, WithCursor
from ..ports import PasswordHasher, Store
from ..transactions import Query, Row, Step, Unit
from ..validation import FieldValidator, RequestFields, check_id
from .audit_log import AuditRecorder
from .login_sessions import ConcurrentChange, LoginSessions, hold_session
from .login_throttle import LoginThrottle
from .pagination import PageRequest


@define(eq=False, repr=False)
class Accounts:
    _store: Store
    _passwords: PasswordHasher
    _login_sessions: LoginSessions
    _events: EventBuilder
    _audit_recorder: AuditRecorder
    _now: Callable[[], float]  # seconds since the epoch
    _new_id: Callable[[], str]
    _login_throttle: LoginThrottle | None = None  # registrations that fail count as logins do
    _registration_open: bool = True  # whether anybody may make an account
    _shows_emails: bool = True  # to everybody who is logged in; else each user's own to that user

    async def register(self, fields: RequestFields, client: ClientInfo = ClientInfo()) -> WithCursor[User]:
        """Raises `ValidationError`, `Forbidden`, or `Conflict` when the address is registered, in any spelling.

        Raises `RateLimited` after too many failures from the client's address.
        """
        if self._login_throttle is None:
            return await self._register(fields, client)
        self._login_throttle.check_address(client.address)
        try:
            return await self._register(fields, client)
        except (ValidationError, Conflict, Forbidden):
            await self._login_throttle.record_failure(client.address)
            raise

    async def _register(self, fields: RequestFields, client: ClientInfo) -> WithCursor[User]:
        if not self._registration_open:
            raise Forbidden("Registration is closed on this server; its operators make accounts")
        form = FieldValidator(fields)
        email, name, password = form.email(), form.name(), form.password()
        form.check()
        hashed = await self._passwords.hash(password, client.requester())
        await self._check_free(email)
        at = format_timestamp(self._now())
        user = User(self._new_id(), email, name, at, at)
        params = _user_columns(user) | {"id": user.id, "password_hash": hashed, "at": at}
        taken = Conflict("Email already registered")
        add = Step("user_add", params, expected_rows=1, miss=taken, clash=taken, event=0)
        audit = self._audit_recorder.record_step("account.created", client, actor=user.id, subject=user.id)
        return WithCursor(
            user, await self._store.commit(Unit((add, audit), (self._events.user_created(user),)))
        )

    async def read(self, viewer: Identity, id: str) -> WithCursor[User]:
        id = check_id(id)
        snapshot = await self._store.read(Query("user_by_id", {"id": id}))
        if not snapshot.results[0]:
            raise NotFound.of("User", id)
        return WithCursor(self._as_seen_by(viewer, snapshot.results[0][0]), snapshot.cursor)

    async def read_many(self, viewer: Identity, ids: Iterable[str]) -> dict[str, User]:
        """The users of `ids` that exist, in one statement."""
        snapshot = await self._store.read(Query("users_by_ids", {"ids": list(ids)}))
        return {row["id"]: self._as_seen_by(viewer, row) for row in snapshot.results[0]}

    async def page(self, viewer: Identity, fields: RequestFields) -> PageOf[User]:
        form = FieldValidator(fields)
        request = await PageRequest.parse(form, self._store.locate)
        form.check()
        from_row = User.from_row if self._shows_emails else partial(self._as_seen_by, viewer)
        return await request.read(self._store, "users", "", {}, from_row)

    async def update(
        self, identity: Identity, id: str, fields: RequestFields, client: ClientInfo = ClientInfo()
    ) -> WithCursor[User]:
        """Change the address, name or password of one's own account; at least one of them.

        A new password ends all other sessions, and with `credentials` in `fields` the user's
        credentials: whoever knew the old one has no access any more.  It and a new address
        want `currentPassword`, see `LoginSessions.confirm`.
        """
        form = FieldValidator(fields)
        email, name, password = form.email(False), form.name(False), form.password(False)
        if not any(map(form.has, ("email", "name", "password"))):
            form.add_error(None, "At least one of email, name, password is required")
        current, with_credentials = form.optional_text("currentPassword"), form.boolean("credentials")
        if with_credentials and not form.has("password"):
            form.add_error(
                "credentials", "Goes with a new password; POST /auth/logout-all ends them without one"
            )
        form.check()
        id = check_id(id)
        if id != identity.user_id:
            raise Forbidden("This account is someone else's")
        if password:
            self._passwords.check_capacity(client.requester(id))  # before anything is read
        old = (await self._read_record(id)).user
        if password or email not in ("", old.email):
            await self._login_sessions.confirm(identity, old.email, current, client)
        hashed = await self._passwords.hash(password, client.requester(id)) if password else ""
        while True:
            record = await self._read_record(id)
            old = record.user
            at = max(format_timestamp(self._now()), old.updated_at)
            user = User(id, email or old.email, name or old.name, old.created_at, at)
            try:
                return WithCursor(
                    user,
                    await self._commit_update(identity, record, user, hashed, with_credentials, client),
                )
            except ConcurrentChange:
                continue  # each time, another change has succeeded

    async def close(
        self,
        identity: Identity,
        id: str,
        fields: RequestFields = MappingProxyType({}),
        client: ClientInfo = ClientInfo(),
    ) -> str:
        """Delete one's own account and messages, and redact the log's events about both; gives the cursor.

        Nobody is given any of it from now on; the rows themselves are erased later, see `multiproto/log/eraser.py`.

        `fields` may have `currentPassword`, see `LoginSessions.confirm`.
        """
        form = FieldValidator(fields)
        current = form.optional_text("currentPassword")
        form.check()
        id = check_id(id)
        if id != identity.user_id:
            raise Forbidden("This account is someone else's")
        user = (await self._read_record(id)).user
        await self._login_sessions.confirm(identity, user.email, current, client)
        at = format_timestamp(self._now())
        steps = (
            *closing_steps(id, at, self._login_sessions.expiry_time()),
            self._audit_recorder.record_step(
                "account.closed", client, actor=id, subject=id, session=identity.session_id
            ),
        )
        event = self._events.user_deleted(id, at)
        return await self._store.commit(Unit(steps, (event,)))

    async def _commit_update(
        self,
        identity: Identity,
        record: UserRecord,
        user: User,
        hashed: str,
        with_credentials: bool,
        client: ClientInfo,
    ) -> str:
        """Change `record` to `user`, with a new password unless `hashed` is "".  Raises `ConcurrentChange`."""
        if user.email != record.user.email:
            await self._check_free(user.email, besides=user.id)
        params = _user_columns(user) | {
            "id": user.id,
            "version": record.version,
            "password_hash": hashed or record.password_hash,
            "at": user.updated_at,
        }
        if user.email == record.user.email:
            params["email_key"] = record.email_key  # that of a shared address is another one
        taken = Conflict("Email already registered")
        steps = [
            Step("user_amend", params, expected_rows=1, miss=ConcurrentChange(""), clash=taken),
            # A new password is hashed for long: whoever is logged out meanwhile does not change it any more.
            hold_session(identity, self._login_sessions.expiry_time()),
        ]
        events = [self._events.user_updated(user)]

        def audit(action: str, details: Mapping[str, object] | None = None) -> Step:
            return self._audit_recorder.record_step(
                action, client, actor=user.id, subject=user.id, session=identity.session_id, details=details
            )

        if user.email != record.user.email:
            steps += [Step("email_outdated", {"id": user.id}), audit("email.changed")]
        if hashed:
            # After the change: a login with the old password at this moment is revoked, too, or is refused.
            ended, revocation = await self._login_sessions.revocation_of(
                user.id, identity.session_id, with_credentials
            )
            details = {f"{kind}Ended": number for kind, number in ended.items()}
            steps += [*revocation.steps, audit("password.changed", details)]
            events += revocation.events
        return await self._store.commit(Unit(tuple(steps), tuple(events)))

    def _as_seen_by(self, viewer: Identity, row: Row) -> User:
        user = User.from_row(row)
        return user if self._shows_emails or user.id == viewer.user_id else evolve(user, shows_email=False)

    async def _check_free(self, email: str, besides: str = "") -> None:
        """Raise `Conflict` if another account has this address, in any spelling.

        The table alone ensures that of two who want it at the same time one gets it.
        It does not know of an address that accounts of the predecessor share, once
        the oldest of them has left it; their number does not grow.
        """
        owners = (await self._store.read(Query("email_owners", {"email_key": email_key(email)}))).results[0]
        if any(row["id"] != besides for row in owners):
            raise Conflict("Email already registered")

    async def _read_record(self, id: str) -> UserRecord:
        rows = (await self._store.read(Query("user_by_id", {"id": id}))).results[0]
        if not rows:
            raise NotFound.of("User", id)
        return UserRecord.from_row(rows[0])


def closing_steps(id: str, at: str, now: str) -> tuple[Step, ...]:
    """Close the account `id` at the time `at`; `now` is that by which sessions expire.

    Their number has a limit, and so has that of all that is deleted here.
    """
    return (
        Step("account_close", {"id": id, "at": at}, expected_rows=1, miss=NotFound.of("User", id)),
        Step("closed_account_add", {"id": id}),
        Step("sessions_revoke_others", {"user_id": id, "keep": "", "at": at, "now": now}),
        Step("credentials_drop_all", {"user_id": id}),
        Step("operator_drop", {"id": id}),
    )


def _user_columns(user: User) -> dict[str, object]:
    return {"email": user.email, "email_key": email_key(user.email), "name": user.name}
