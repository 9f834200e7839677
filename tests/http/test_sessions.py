"""The routes of sessions and of the audit log, from bytes to rows and back."""

from __future__ import annotations

from typing import Any

from multiproto.core.validation import is_uuid

from .client import Response
from .test_api import ANN, BOB, NOBODY, OPS, ApiCase, paths


class SessionCase(ApiCase):
    async def login(self, fields: dict[str, str] = ANN, **headers: str) -> str:
        """The token of a new session."""
        return str((await self.ask("POST", "/auth/login", fields, **headers)).data["token"])

    async def sessions(self, token: str) -> list[dict[str, Any]]:
        answer = await self.ask("GET", "/auth/sessions", token=token)
        self.assertEqual(answer.status, 200)
        return list(answer.data)

    async def is_good(self, token: str) -> bool:
        answer = await self.ask("GET", "/auth/me", token=token)
        return answer.status == 200


class SessionsTests(SessionCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.ann, self.first = await self.join(ANN)
        self.bob, self.bobs = await self.join(BOB)

    async def test_what_is_shown(self) -> None:
        """What the client said of itself is in one line and cut; what it can't be told by is not there."""
        await self.login(User_Agent="Fire\tfox/130\x85" + "x" * 300)
        newest, oldest = await self.sessions(self.first)
        self.assertEqual(
            list(newest), ["id", "createdAt", "lastUsedAt", "expiresAt", "current", "address", "client"]
        )
        self.assertEqual((newest["current"], oldest["current"]), (False, True))
        self.assertTrue(is_uuid(newest["id"]))
        self.assertEqual(newest["client"], ("Firefox/130Â" + "x" * 300)[:200])
        self.assertNotIn("client", oldest)
        self.assertEqual(newest["address"], "10.0.0.1")
        colours = await self.ask("POST", "/auth/login", ANN, User_Agent="\x1b[31mFirefox")
        self.assertEqual((colours.status, colours.code), (400, 1))

    async def test_ending_one(self) -> None:
        second = await self.login()
        newest, _ = await self.sessions(self.first)
        answer = await self.ask("DELETE", f"/auth/sessions/{newest['id'].upper()}", token=self.first)
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual([await self.is_good(token) for token in (self.first, second)], [True, False])

    async def test_ending_ones_present_one_is_logging_out(self) -> None:
        (only,) = await self.sessions(self.first)
        answer = await self.ask("DELETE", f"/auth/sessions/{only['id']}", token=self.first)
        self.assertEqual((answer.status, await self.is_good(self.first)), (204, False))

    async def test_another_persons_is_like_none(self) -> None:
        """IDOR: the answers differ in the id that was asked for, and in nothing else."""
        (theirs,) = await self.sessions(self.bobs)
        answers = [
            await self.ask("DELETE", f"/auth/sessions/{id}", token=self.first)
            for id in (theirs["id"], NOBODY)
        ]
        for answer, id in zip(answers, (theirs["id"], NOBODY)):
            self.assertEqual((answer.status, answer.code), (404, 3))
            self.assertEqual(answer.json["error"]["message"], "Session not found")
            self.assertEqual(answer.json["error"]["details"], {"resource": "Session", "id": id})
        self.assertTrue(await self.is_good(self.bobs))
        self.assertEqual(paths(await self.ask("DELETE", "/auth/sessions/1", token=self.first)), [["id"]])

    async def test_logging_out_everywhere(self) -> None:
        tokens = [self.first, await self.login(), await self.login()]
        answer = await self.ask("POST", "/auth/logout-all", token=tokens[1])
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual([await self.is_good(token) for token in tokens], [False] * 3)
        self.assertTrue(await self.is_good(self.bobs))
        self.assertTrue(await self.is_good(await self.login()))  # at once: it is another session

    async def test_a_new_password_leaves_the_session_that_set_it(self) -> None:
        other = await self.login()
        answer = await self.ask("PUT", f"/users/{self.ann}", {"password": "An0ther!!"}, self.first)
        self.assertEqual(answer.status, 200)
        self.assertEqual([await self.is_good(token) for token in (self.first, other)], [True, False])
        self.assertEqual((await self.ask("POST", "/auth/login", ANN)).status, 401)


class AuditTests(SessionCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.ops, self.token = await self.join(OPS)
        await self.members.operators.startService()
        self.ann, self.anns = await self.join(ANN)

    async def listed(self, target: str, token: str) -> list[tuple[str, str, int]]:
        answer = await self.ask("GET", target, token=token)
        self.assertEqual(answer.status, 200, answer.body)
        self.assertEqual(list(answer.data), ["data", "pagination"])
        return [(note["action"], note["outcome"], note["times"]) for note in answer.data["data"]]

    async def test_ones_own(self) -> None:
        for _ in range(2):
            wrong: Response = await self.ask("POST", "/auth/login", ANN | {"password": "Wrong"})
            self.assertEqual(wrong.status, 401)
        await self.members.failed_attempts.stopService()
        self.assertEqual(
            await self.listed("/auth/audit", self.anns),
            [("login", "invalid", 2), ("login", "success", 1), ("account.created", "success", 1)],
        )
        self.assertEqual(
            await self.listed(f"/auth/audit?action=login&limit=1&user={self.ops}", self.anns),
            [("login", "invalid", 2)],
        )

    async def test_all_for_operators_only(self) -> None:
        refused = await self.ask("GET", "/audit", token=self.anns)
        self.assertEqual((refused.status, refused.code), (403, 5))
        self.assertEqual(len(await self.listed("/audit", self.token)), 5)  # an operator was made, too
        self.assertEqual(len(await self.listed(f"/audit?user={self.ann}", self.token)), 2)
        self.assertEqual(len(await self.listed("/audit?action=login&page=2&limit=1", self.token)), 1)
        bad = await self.ask("GET", "/audit?limit=101&user=x&action=y", token=self.token)
        self.assertEqual(paths(bad), [["user"], ["limit"], ["action"]])

    async def test_a_forged_token_is_noted_and_one_that_ran_out_is_not(self) -> None:
        self.assertEqual((await self.ask("GET", "/auth/me", token="forged")).status, 401)
        self.clock_ahead = 901.0
        self.assertEqual((await self.ask("GET", "/auth/me", token=self.anns)).status, 401)
        self.clock_ahead = 0.0
        await self.members.failed_attempts.stopService()
        self.assertEqual(await self.listed("/audit?action=token", self.token), [("token", "invalid", 1)])
