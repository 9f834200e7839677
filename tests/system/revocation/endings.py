"""All that ends somebody's rights, each as a request to one instance, about rights that are used on the other."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Mapping

from attrs import define
from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.canary import PASSWORD
from tests.live.clients import Address, Rest

GRANTS = [{"pattern": pattern, "verbs": ["publish", "subscribe"]} for pattern in ("load.*", "said.*")]


@define(eq=False)
class Rights:
    """A user's, who is logged in twice: what they live on, and the session from which they may be ended.

    Each user comes from an address of its own, for logins are limited by it.
    """

    id: str
    token: str  # of what is to end
    refresh: str
    nobody: Rest  # without a token, on the instance where rights are ended
    own: Rest  # with that token
    other: Rest  # with another session's
    credential: str = ""  # the id of the one that is to end, if it is one

    @classmethod
    async def of(cls, number: int, here: Address, ending: str) -> Rights:
        source = f"127.1.{number // 250}.{number % 250 + 1}"
        nobody = Rest(here, source=source)
        fields = {"email": f"victim-{number}@example.org", "name": "Victim", "password": PASSWORD}
        user = await done(201, nobody, "POST", "/api/v1/auth/register", fields)
        first, second = [await done(200, nobody, "POST", "/api/v1/auth/login", fields) for _ in "ab"]
        own, other = [Rest(here, each["token"], source) for each in (first, second)]
        rights = cls(user["id"], first["token"], first["refreshToken"], nobody, own, other)
        if ending == "credential":
            asked = {"name": "victim", "grants": GRANTS}
            made = await done(201, other, "POST", "/api/v1/auth/credentials", asked)
            rights.token, rights.credential = made["credential"], made["id"]
        if ending == "stolen":
            token = rights.refresh
            for _ in range(2):  # the first is used up once the second was used
                pair = await done(200, nobody, "POST", "/api/v1/auth/refresh", {"refreshToken": token})
                token = pair["refreshToken"]
        return rights


async def done(status: int, rest: Rest, method: str, path: str, body: Any = None) -> Any:
    """What the answer holds, which must have this status; asked again while the server says that it is too busy."""
    found, answer = await rest.ask(method, path, body)
    while found == 503:
        await deferLater(reactor, 0.1)  # type: ignore[arg-type]
        found, answer = await rest.ask(method, path, body)
    assert found == status, (found, answer)
    return answer["data"] if answer and answer["success"] else None


async def logout(rights: Rights) -> None:
    await done(204, rights.own, "POST", "/api/v1/auth/logout")


async def everywhere(rights: Rights) -> None:
    await done(204, rights.other, "POST", "/api/v1/auth/logout-all")


async def session(rights: Rights) -> None:
    """One of several, from another."""
    opened = await done(200, rights.other, "GET", "/api/v1/auth/sessions")
    (id,) = [each["id"] for each in opened if not each["current"]]
    await done(204, rights.other, "DELETE", f"/api/v1/auth/sessions/{id}")


async def password(rights: Rights) -> None:
    fields = {"password": f"{PASSWORD}2"}
    await done(200, rights.other, "PUT", f"/api/v1/users/{rights.id}", fields)


async def credential(rights: Rights) -> None:
    await done(204, rights.other, "DELETE", f"/api/v1/auth/credentials/{rights.credential}")


async def account(rights: Rights) -> None:
    await done(204, rights.other, "DELETE", f"/api/v1/users/{rights.id}")


async def stolen(rights: Rights) -> None:
    """A refresh token that was used up is used again."""
    again = {"refreshToken": rights.refresh}
    await done(401, rights.nobody, "POST", "/api/v1/auth/refresh", again)


ENDINGS: Mapping[str, Callable[[Rights], Awaitable[None]]] = {
    "logout": logout,
    "logout everywhere": everywhere,
    "session": session,
    "password": password,
    "credential": credential,
    "account": account,
    "stolen": stolen,
}
