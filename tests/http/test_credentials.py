"""Credentials over REST, from bytes to rows: creating, listing and revoking them, and the few routes that they authorize."""

from __future__ import annotations

from typing import Any

from .client import Response
from .test_api import ANN, BOB, NOBODY, ApiCase, paths

GRANTS = [{"pattern": "devices.pump.*", "verbs": ["publish", "subscribe"]}]
ONLY = "This credential is for topics only"

# Where who came with a credential is let in, and where nobody is asked who they are.
FOR_CREDENTIALS = {
    ("GET", "/auth/me"),
    ("POST", "/topics/:topic"),
    ("GET", "/topics/:pattern/events"),
    ("GET", "/topics/:topic/explain"),
}
FOR_ALL = {
    ("POST", "/auth/register"),
    ("POST", "/auth/login"),
    ("POST", "/auth/refresh"),
    ("GET", "/"),
    ("GET", "/health"),
    ("GET", "/health/ready"),
    ("GET", "/health/live"),
    ("GET", "/.well-known/jwks.json"),
}


class CredentialsCase(ApiCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.ann, self.token = await self.join(ANN)

    async def make(self, token: str = "", **fields: Any) -> Response:
        body = {"name": "pump", "grants": GRANTS} | fields
        return await self.ask("POST", "/auth/credentials", body, token or self.token)

    async def secret(self) -> str:
        return str((await self.make()).data["credential"])

    def refused(self, answer: Response, status: int, message: str) -> None:
        self.assertEqual((answer.status, answer.json["error"]["message"]), (status, message))


class RoutesTests(CredentialsCase):
    async def test_made_listed_and_revoked(self) -> None:
        made = await self.make(expiresIn="30d")
        self.assertEqual((made.status, made.headers["cache-control"]), (201, "no-store"))
        data = made.data
        self.assertEqual(list(data), ["id", "name", "grants", "createdAt", "expiresAt", "credential"])
        self.assertEqual((data["name"], data["grants"]), ("pump", GRANTS))
        secret = data.pop("credential")
        listed = await self.ask("GET", "/auth/credentials", token=self.token)
        self.assertEqual((listed.status, listed.data), (200, [data]))
        gone = await self.ask("DELETE", f"/auth/credentials/{data['id'].upper()}", token=self.token)
        self.assertEqual((gone.status, gone.body), (204, b""))
        self.assertEqual((await self.ask("GET", "/auth/credentials", token=self.token)).data, [])
        answer = await self.ask("GET", "/auth/me", token=secret)
        self.refused(answer, 401, "Credential unknown or revoked")
        self.assertEqual(answer.headers["www-authenticate"], "Bearer")

    async def test_refused(self) -> None:
        self.assertEqual(
            paths(await self.make(name="a.b", grants=[{"pattern": "", "verbs": []}], expiresIn="1")),
            [["name"], ["expiresIn"], ["grants", 0, "pattern"], ["grants", 0, "verbs"]],
        )
        idle = [*GRANTS, {"pattern": "users.**", "verbs": ["publish"]}]
        self.assertEqual(paths(await self.make(grants=idle)), [["grants", 1, "verbs"]])
        self.assertEqual((await self.make()).status, 201)
        self.refused(await self.make(), 409, "You have a credential of this name")
        _, bob = await self.join(BOB)
        theirs = (await self.make(bob)).data["id"]
        for id, status in ((theirs, 404), (NOBODY, 404), ("x", 400)):
            answer = await self.ask("DELETE", f"/auth/credentials/{id}", token=self.token)
            self.assertEqual(answer.status, status, id)
        for method, path in (("POST", ""), ("GET", ""), ("DELETE", f"/{NOBODY}")):
            self.assertEqual((await self.ask(method, f"/auth/credentials{path}", {})).status, 401)

    async def test_an_account_that_is_closed_takes_its_own_along(self) -> None:
        secret = await self.secret()
        await self.ask("DELETE", f"/users/{self.ann}", token=self.token)
        self.assertEqual((await self.ask("GET", "/auth/me", token=secret)).status, 401)


class RightsTests(CredentialsCase):
    async def test_what_was_granted_and_no_more(self) -> None:
        secret = await self.secret()
        inside = await self.ask("POST", "/topics/devices.pump.heat", {"data": 1}, secret)
        self.assertEqual(inside.status, 202)
        outside = await self.ask("POST", "/topics/devices.lamp.heat", {"data": 1}, secret)
        why = "The credential that you came with was not given this"
        self.refused(outside, 403, why)
        self.refused(await self.ask("GET", "/topics/devices.lamp.*/events", token=secret), 403, why)
        after = await self.ask("GET", "/topics/devices.pump.*/events?after=x", token=secret)
        self.refused(after, 403, why)  # no right to the past
        for topic, allowed in (("devices.pump.heat", True), ("devices.lamp.heat", False)):
            answer = await self.ask("GET", f"/topics/{topic}/explain?verb=publish", token=secret)
            self.assertEqual(answer.data["allowed"], allowed)
        self.assertEqual((await self.ask("GET", "/auth/me", token=secret)).data["id"], self.ann)

    async def test_every_other_route_is_closed(self) -> None:
        """All that there are, so that a new one is closed until somebody says otherwise."""
        secret = await self.secret()
        found = set()
        for rule in self.site.app.url_map.iter_rules():
            [method] = rule.methods - {"HEAD", "OPTIONS"}
            path, words = rule.rule, sorted(rule.arguments)
            template = (
                path.removeprefix("/api/v1") if path.startswith("/api/v1") else path.removeprefix("/api")
            )
            for word in words:
                template = template.replace(f"<string:{word}>", f":{word}")
                path = path.replace(f"<string:{word}>", NOBODY)
            found.add((method, template or "/"))
            if (method, template or "/") not in FOR_CREDENTIALS | FOR_ALL:
                if not path.startswith("/api"):
                    self.fail(f"{method} {path} is asked for nowhere")
                self.refused(await self.ask(method, path, {}, secret), 403, ONLY)
        self.assertLess(FOR_CREDENTIALS | FOR_ALL, found)
        self.assertIn(("POST", "/auth/credentials"), found - FOR_CREDENTIALS - FOR_ALL)
