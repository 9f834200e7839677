"""What people do with an account, in pairs at the same moment; the outcome must be that of one after the other."""

from __future__ import annotations

import hashlib
from typing import Any, Callable, Coroutine, Mapping

from attrs import frozen
from twisted.internet.task import Clock

from multiproto.base.timestamps import format_timestamp
from multiproto.core.domain.messages import Messages
from multiproto.core.errors import Unauthorized
from multiproto.core.events import EventBuilder
from multiproto.core.idempotency import IdempotentSends
from multiproto.core.identity import Identity
from multiproto.core.ports import Store
from multiproto.core.pubsub.policy import Policy
from multiproto.core.transactions import Query, Step, Unit
from tests.canary import PASSWORD
from tests.core.domain.test_accounts import NamingTokens
from tests.fakes import PlainPasswords, make_account_services

from .explore import MAX_STEPS, Operation, SteppedStore, explore, run_schedule

FAR = "9999-12-31T23:59:59.999Z"
NEW_PASSWORD = PASSWORD + "new"
HELLO = {"content": "hello", "channelId": "c"}
GRANTS = [{"pattern": "room.*", "verbs": ["publish"]}]


class Client:
    """All services on one store."""

    def __init__(self, store: Store, now: Callable[[], float], new_id: Callable[[], str]) -> None:
        services = make_account_services(store, PlainPasswords(), NamingTokens(), Clock(), now, new_id)
        self.accounts, self.sessions = services.accounts, services.login_sessions
        self.credentials = services.credentials
        self.commit, self._read, self._now = store.commit, store.read, now
        self.messages = Messages(
            store, IdempotentSends(store, now), EventBuilder(new_id), Policy(), now, new_id
        )

    async def authenticate(self, identity: Identity) -> None:
        """As a request does before what it asks for: the session may end behind it."""
        params = {"id": identity.session_id, "user_id": identity.user_id, "now": self.at()}
        if not (await self._read(Query("session_live", params))).results[0]:
            raise Unauthorized("Token revoked", "revoked")

    def at(self) -> str:
        return format_timestamp(self._now())


@frozen
class Account:
    """An account with two sessions, a credential and a message; one session was refreshed once."""

    email: str
    id: str
    first: Identity
    second: Identity
    used_token: str  # a refresh token of the first session
    next_token: str  # its successor, which is not used yet
    credential: str
    message: str  # sent with the key "key-0"


async def new_account(client: Client, email: str) -> Account:
    id = (await client.accounts.register({"email": email, "name": "Ann", "password": PASSWORD})).value.id
    first, second = [await client.sessions.login({"email": email, "password": PASSWORD}) for _ in range(2)]
    refreshed = await client.sessions.refresh({"refreshToken": first.refresh_token})
    who, other = [Identity(id, each.token.split()[2], 1e12) for each in (first, second)]
    made = await client.credentials.create(who, {"name": "pump", "grants": GRANTS})
    sent = await client.messages.send(who, HELLO, "key-0")
    return Account(
        email, id, who, other, first.refresh_token, refreshed.refresh_token, made.credential.id, sent.value.id
    )


Act = Callable[[Client, Account], Coroutine[Any, Any, object]]


async def make_credential(client: Client, identity: Identity, name: str) -> None:
    await client.authenticate(identity)
    await client.credentials.create(identity, {"name": name, "grants": GRANTS})


ACTS: Mapping[str, Act] = {
    "log in": lambda c, a: c.sessions.login({"email": a.email, "password": PASSWORD}),
    "refresh by a token whose successor is not used yet": lambda c, a: c.sessions.refresh(
        {"refreshToken": a.used_token}
    ),
    "refresh by that successor": lambda c, a: c.sessions.refresh({"refreshToken": a.next_token}),
    "log out": lambda c, a: c.sessions.logout(a.first),
    "log out everywhere": lambda c, a: c.sessions.logout_all(a.first),
    "log out everywhere, and end the credentials": lambda c, a: c.sessions.logout_all(
        a.first, {"credentials": True}
    ),
    "revoke the other session": lambda c, a: c.sessions.revoke(a.second, a.first.session_id),
    "change the password": lambda c, a: c.accounts.update(a.first, a.id, {"password": NEW_PASSWORD}),
    "change the password, and end the credentials": lambda c, a: c.accounts.update(
        a.first, a.id, {"password": NEW_PASSWORD, "credentials": True}
    ),
    "change the name": lambda c, a: c.accounts.update(a.second, a.id, {"name": "Anna"}),
    "change the address": lambda c, a: c.accounts.update(a.second, a.id, {"email": f"new-{a.email}"}),
    "register its address": lambda c, a: c.accounts.register(
        {"email": f"new-{a.email}", "name": "Eve", "password": PASSWORD}
    ),
    "close it": lambda c, a: c.accounts.close(a.first, a.id),
    "make a credential": lambda c, a: make_credential(c, a.first, "valve"),
    "make another of its name": lambda c, a: make_credential(c, a.second, "valve"),
    "revoke a credential": lambda c, a: c.credentials.revoke(a.first, a.credential),
    "send a message with a key": lambda c, a: c.messages.send(
        a.first, {"content": "once", "channelId": "c"}, "key-1"
    ),
    "send another with the same key": lambda c, a: c.messages.send(
        a.first, {"content": "twice", "channelId": "c"}, "key-1"
    ),
    "repeat a message with its key": lambda c, a: c.messages.send(a.first, HELLO, "key-0"),
    "forget old keys": lambda c, a: c.commit(Unit((Step("keys_prune", {"before": FAR, "most": 100_000}),))),
    "forget old sessions": lambda c, a: c.commit(
        Unit(
            tuple(
                Step(f"{what}_prune", {"before": c.at(), "most": 100_000})
                for what in ("refresh_tokens", "sessions")
            )
        )
    ),
    "delete a message": lambda c, a: c.messages.delete(a.first, a.message),
}

# What touches other accounts, too.
FOR_ALL_ACCOUNTS = {"forget old keys", "forget old sessions"}


async def state_of(store: Store, account: Account) -> Any:
    """What can be seen of the account afterwards, without ids and times."""
    snapshot = await store.read(
        Query("user_by_id", {"id": account.id}),
        Query("sessions_open", {"user_id": account.id, "now": "2000-01-01T00:00:00.000Z", "limit": 1000}),
        Query("credentials_of_user", {"user_id": account.id}),
        Query("messages_count_by_user", {"viewer": account.id, "user_id": account.id}),
        *(
            Query("refresh_by_hash", {"hash": hash_of(token)})
            for token in (account.used_token, account.next_token)
        ),
    )
    users, sessions, credentials, messages, *tokens = snapshot.results
    return (
        [(row["email"], row["name"], row["password_hash"]) for row in users],
        sorted(
            row["id"] if row["id"] in (account.first.session_id, account.second.session_id) else "new"
            for row in sessions
        ),
        sorted(row["name"] for row in credentials),
        [row["total"] for row in messages],
        [[(row["spent_at"] is not None, row["revoked_at"] is not None) for row in rows] for rows in tokens],
    )


def hash_of(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


async def unspent_tokens(store: Store, issued: list[str]) -> list[bool]:
    """Of the refresh tokens that were issued meanwhile: whether each still refreshes its session."""
    found = [
        (await store.read(Query("refresh_by_hash", {"hash": hash_of(token)}))).results[0] for token in issued
    ]
    return sorted(
        bool(rows) and rows[0]["spent_at"] is None and rows[0]["revoked_at"] is None for rows in found
    )


class Pairs:
    """Explores pairs of `ACTS`, each schedule on a new account."""

    def __init__(self, store: Store, now: Callable[[], float], new_id: Callable[[], str]) -> None:
        self._store, self._now, self._new_id = store, now, new_id
        self._setup = Client(store, now, new_id)
        self.schedules = 0

    async def faults(self, one: str, other: str) -> list[str]:
        """The schedules whose outcome neither order of the whole operations has."""

        async def run(schedule: tuple[int, ...]) -> tuple[list[int], Any]:
            self.schedules += 1
            account = await new_account(self._setup, f"{self._new_id()}@example.org")
            operations = Operation(SteppedStore(self._store)), Operation(SteppedStore(self._store))
            issued: list[str] = []
            for operation, act in zip(operations, (one, other)):
                work = ACTS[act](Client(operation.store, self._now, self._new_id), account)
                operation.start(noting_token(work, issued))
            made = await run_schedule(operations, schedule)
            results = [operation.result for operation in operations]
            outcome = results, await state_of(self._store, account), await unspent_tokens(self._store, issued)
            return made, str(outcome).replace(account.email, "ann").replace(
                account.first.session_id, "first"
            ).replace(account.second.session_id, "second")

        outcomes = await explore(run)
        _, other_way_round = await run((1,) * MAX_STEPS)
        whole = {outcomes[()], other_way_round}
        return [
            f"{one} / {other}, in the order {schedule or '(0…)'}: {outcome}"
            for schedule, outcome in outcomes.items()
            if outcome not in whole
        ]


async def noting_token(work: Coroutine[Any, Any, Any], issued: list[str]) -> None:
    result = await work
    token = getattr(result, "refresh_token", None)
    if token is not None:
        issued.append(token)
