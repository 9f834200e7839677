"""What docs/common.md says ends what, and what docs/operations.md says of addresses, on a real server."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any, Awaitable, Callable

from attrs import evolve, frozen
from twisted.internet import reactor
from twisted.internet.task import deferLater

from multiproto.config import Config
from multiproto.core.domain import failed_attempts
from tests import canary

from ..test_pages import page, section
from .clients import Person, Rest
from .running import LiveCase

LOOPBACK = (ip_network("127.0.0.0/8"),)
GRANTS = [{"pattern": "room.**", "verbs": ["subscribe"]}]


@frozen
class Everything:
    """All that one user may have: sessions, the first of which acts, and credentials."""

    person: Person
    logins: list[Any]  # the `data` of their answers
    credentials: list[Any]

    @property
    def rest(self) -> Rest:
        return Rest(self.person.address, self.logins[0]["token"])

    async def alive(self) -> tuple[list[bool], list[bool]]:
        """Of each session and of each credential, whether it is good."""
        tokens = [login["token"] for login in self.logins]
        secrets = [each["credential"] for each in self.credentials]
        return [await self.is_good(token) for token in tokens], [await self.is_good(each) for each in secrets]

    async def is_good(self, token: str) -> bool:
        status, _ = await Rest(self.person.address, token).ask("GET", "/api/v1/auth/me")
        return status == 200


class EndingsTests(LiveCase):
    """docs/common.md#what-ends-what, row by row: what is said there happens."""

    async def everything(self, name: str) -> Everything:
        """Of a new user: three sessions, the second of them the oldest, and two credentials."""
        fields = {"email": f"{name}@example.org", "name": name, "password": canary.PASSWORD}
        rest = Rest(self.address)
        assert (await rest.ask("POST", "/api/v1/auth/register", fields))[0] == 201
        second, first, third = [await self.login(name) for _ in range(3)]
        person = Person(self.address, Rest(self.address, first["token"]), first["user"]["id"])
        credentials = []
        for number in range(2):
            body = {"name": f"device{number}", "grants": GRANTS}
            status, answer = await person.rest.ask("POST", "/api/v1/auth/credentials", body)
            assert status == 201, answer
            credentials.append(answer["data"])
        return Everything(person, [first, second, third], credentials)

    async def login(self, name: str) -> Any:
        fields = {"email": f"{name}@example.org", "password": canary.PASSWORD}
        status, answer = await Rest(self.address).ask("POST", "/api/v1/auth/login", fields)
        assert status == 200, answer
        return answer["data"]

    async def test_every_row(self) -> None:
        rows = re.findall(
            r"^\| ([^|]*?) \| ([^|]*?) \| ([^|]*?) \| ([^|]*?) \|$",
            section(page("docs/common.md"), "## What ends what"),
            re.MULTILINE,
        )[1:]
        actions = self.actions()
        self.assertEqual([row[0] for row in rows], list(actions))
        for number, (what, this, others, credentials) in enumerate(rows):
            had = await self.everything("user" + "abcdefghi"[number])
            await actions[what](had)
            found = await had.alive()
            self.assertEqual(found, self.expected(this, others, credentials), what)

    async def test_credentials_where_it_is_asked_for(self) -> None:
        """docs/common.md#what-ends-what: `credentials: true`"""
        had = await self.everything("ann")
        body = {"password": canary.PASSWORD + "2", "credentials": True}
        assert (await had.rest.ask("PUT", f"/api/v1/users/{had.person.id}", body))[0] == 200
        self.assertEqual(await had.alive(), ([True, False, False], [False, False]))
        had = await self.everything("bob")
        assert (await had.rest.ask("POST", "/api/v1/auth/logout-all", {"credentials": True}))[0] == 204
        self.assertEqual(await had.alive(), ([False, False, False], [False, False]))

    def expected(self, this: str, others: str, credentials: str) -> tuple[list[bool], list[bool]]:
        """What the cells of a row say of each."""
        return [self.lives(this, 1)[0], *self.lives(others, 2)], self.lives(credentials, 2)

    def lives(self, cell: str, count: int) -> list[bool]:
        if cell in ("that one ends", "the oldest ends"):
            return [False, True]
        if cell.startswith(("go on", "goes on", "as the others")):
            return [True] * count
        self.assertRegex(cell, "^(end|ends|the session that it is of ends)$")
        return [False] * count

    def actions(self) -> dict[str, Callable[[Everything], Awaitable[object]]]:
        async def change(had: Everything, **fields: str) -> None:
            assert (await had.rest.ask("PUT", f"/api/v1/users/{had.person.id}", fields))[0] == 200

        async def rename(had: Everything) -> None:
            await change(had, email=f"new-{had.person.id}@example.org")
            await change(had, name="Another")

        async def end_session(had: Everything) -> None:
            _, listed = await had.rest.ask("GET", "/api/v1/auth/sessions")
            oldest = listed["data"][-1]
            assert (await had.rest.ask("DELETE", f"/api/v1/auth/sessions/{oldest['id']}"))[0] == 204

        async def reuse(had: Everything) -> None:
            async def refresh(token: str, expected: int) -> Any:
                status, answer = await Rest(self.address).ask(
                    "POST", "/api/v1/auth/refresh", {"refreshToken": token}
                )
                assert status == expected, answer
                return answer

            used = had.logins[0]["refreshToken"]
            fresh = await refresh(used, 200)
            await refresh(fresh["data"]["refreshToken"], 200)
            await refresh(used, 401)

        async def many_logins(had: Everything) -> None:
            name = had.logins[0]["user"]["email"].partition("@")[0]
            for _ in range(97):
                await self.login(name)
            assert all((await had.alive())[0])
            await self.login(name)

        return {
            "logout": lambda had: had.rest.ask("POST", "/api/v1/auth/logout"),
            "logout-all": lambda had: had.rest.ask("POST", "/api/v1/auth/logout-all"),
            "a new password": lambda had: change(had, password=canary.PASSWORD + "2"),
            "a new address, another name": rename,
            "the end of one session, by its id": end_session,
            "the end of one credential": lambda had: had.rest.ask(
                "DELETE", f"/api/v1/auth/credentials/{had.credentials[0]['id']}"
            ),
            "the account is closed": lambda had: had.rest.ask("DELETE", f"/api/v1/users/{had.person.id}"),
            "a used-up refresh token comes again": reuse,
            "one login more than 100 sessions": many_logins,
        }


class AddressesBehindAProxy(LiveCase):
    """docs/operations.md#the-audit-log, docs/rest.md#get-authsessions: the client's address, where the proxy is trusted."""

    trusted = True

    def configure(self, config: Config) -> Config:
        self.patch(failed_attempts, "WRITE_INTERVAL", 0.05)
        config = super().configure(config)
        return evolve(config, edge=evolve(config.edge, trusted_proxies=LOOPBACK if self.trusted else ()))

    def as_shown(self, address: str) -> str:
        return address if self.trusted else "127.0.0.1"

    async def test_what_is_shown(self) -> None:
        fields = {"email": "ann@example.org", "name": "ann", "password": canary.PASSWORD}
        rest = Rest(self.address)
        await rest.ask("POST", "/api/v1/auth/register", fields)
        for client, network in (("203.0.113.7", "203.0.113.7"), ("2001:db8:5:6:7::8", "2001:db8:5:6::/64")):
            via = {"X-Forwarded-For": f"198.51.100.1, {client}"}
            _, answer = await rest.ask("POST", "/api/v1/auth/login", fields, **via)
            rest.token = answer["data"]["token"]
            await rest.ask("POST", "/api/v1/auth/login", {**fields, "password": "Wrong-1234"}, **via)
            _, listed = await rest.ask("GET", "/api/v1/auth/sessions")
            [current] = [each for each in listed["data"] if each["current"]]
            self.assertEqual(current["address"], self.as_shown(client))
            self.assertEqual(await self.last(rest, "success"), self.as_shown(client))
            self.assertEqual(await self.last(rest, "invalid"), self.as_shown(network))

    async def last(self, rest: Rest, outcome: str) -> Any:
        """The address of the last login with that outcome, once there are as many of one as of the other."""
        while True:
            _, listed = await rest.ask("GET", "/api/v1/auth/audit?action=login&limit=100")
            found = {
                name: [each for each in listed["data"]["data"] if each["outcome"] == name]
                for name in OUTCOMES
            }
            counts = {name: sum(each["times"] for each in rows) for name, rows in found.items()}
            if counts["success"] == counts["invalid"]:
                return found[outcome][0]["address"]
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]


OUTCOMES = ("success", "invalid")


class AddressesBehindAnotherProxy(AddressesBehindAProxy):
    """That is not trusted: its own."""

    trusted = False
