"""People whose names, addresses and passwords are not ASCII, on every protocol."""

from __future__ import annotations

import json
import unicodedata
from base64 import urlsafe_b64decode
from typing import Any

from attrs import evolve

from multiproto.config import Config
from multiproto.config.settings import CLOSED, SELF
from tests.canary import CANARY
from tests.canary import PASSWORD as CANARY_PASSWORD

from .clients import Device, Person, Rest
from .running import LiveCase, Shared

# A name, and an address in two spellings, of which the first is shown.
PEOPLE = (
    ("می\u200cنا حسین\u200cزاده", "مینا@نامه\u200cای.example", "مینا@xn--mgba3gch31f060k.example"),
    ("അജയന്\u200d നായര്\u200d", "അജയൻ@ഉദാഹരണം.example", "അജയൻ@ഉദാഹരണം。example"),
    ("Gal·la Núñez", "galla@bücher.example", "Galla@XN--BCHER-KVA.example"),
    ("דוד בן־גוריון", "דוד@דוגמה.example", "דוד@דוגמה．example"),
    ("Kaʻiulani Keōua", "kaʻiulani@hawaiʻi.example", "KAʻIULANI@HAWAIʻI.example"),
    ("ジャン・クロード\u3000山田", "山田@例え.example", "山田@例え。example"),
)
PASSWORD = f"{CANARY}-Pässwörd-1"
REGISTER = "mutation($input: RegisterInput!) { register(input: $input) { user { id name email } token } }"
LOGIN = "mutation($e: String!, $p: String!) { login(email: $e, password: $p) { user { id } } }"


def spell(form: Any, text: str) -> str:
    return unicodedata.normalize(form, text)


class EveryScript(LiveCase):
    async def register(self, rest: Rest, graphql: bool, name: str, email: str) -> tuple[str, str]:
        """The id and an access token of a new account; all is typed in NFD, as some systems do."""
        typed = {
            "name": spell("NFD", name),
            "email": spell("NFD", email),
            "password": spell("NFD", PASSWORD),
        }
        if graphql:
            answer = (await rest.graphql(REGISTER, input=typed))["data"]["register"]
            user, token = answer["user"], answer["token"]
        else:
            _, answer = await rest.ask("POST", "/api/v1/auth/register", typed)
            user = answer["data"]
            _, answer = await rest.ask("POST", "/api/v1/auth/login", typed)
            token = answer["data"]["token"]
        self.assertEqual((user["name"], user["email"]), (spell("NFC", name), spell("NFC", email)))
        return user["id"], token

    async def test_all_see_the_same_name_and_address(self) -> None:
        ann = await self.person("ann")
        socket, device = await ann.websocket(), await ann.device()
        await socket.ask(type="subscribe", topic="users")
        await device.ask(0x10, topic="users")
        for number, (name, email, other_spelling) in enumerate(PEOPLE):
            source = f"127.0.0.{number + 10}"  # one address may try to log in 20 times
            rest = Rest(self.place(), source=source)
            id, token = await self.register(rest, number % 2 == 1, name, email)
            shown = (spell("NFC", name), spell("NFC", email))
            by_socket = (await socket.inbox.next())["data"]["user"]
            by_device = (await device.inbox.next())[1]["content"]["user"]
            rest.token = token
            by_rest = (await rest.ask("GET", "/api/v1/auth/me"))[1]["data"]
            by_graphql = (await rest.graphql("{ me { id name email } }"))["data"]["me"]
            for user in (by_socket, by_device, by_rest, by_graphql):
                self.assertEqual((user["id"], user["name"], user["email"]), (id, *shown))
            payload = token.split(".")[1]
            claims = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            self.assertEqual(claims["email"], shown[1])
            await self.check_spellings(rest, id, email, other_spelling)

    async def check_spellings(self, rest: Rest, id: str, email: str, other_spelling: str) -> None:
        """One account by each spelling of its address, with each spelling of its password."""
        for typed in (email, spell("NFD", email), other_spelling):
            fields = {"email": typed, "name": "Eve", "password": PASSWORD}
            self.assertEqual((await rest.ask("POST", "/api/v1/auth/register", fields))[0], 409, ascii(typed))
            for form in ("NFC", "NFD"):
                fields["password"] = spell(form, PASSWORD)
                status, answer = await rest.ask("POST", "/api/v1/auth/login", fields)
                self.assertEqual((status, answer["data"]["user"]["id"]), (200, id))
            answer = await rest.graphql(LOGIN, e=typed, p=fields["password"])
            self.assertEqual(answer["data"]["login"]["user"]["id"], id)


class EveryScriptOnPostgreSQL(Shared, EveryScript):
    """The same on the other store, with each request on the next instance."""


UPDATE = "mutation($input: UpdateUserInput!) { updateUser(input: $input) { email } }"
USERS = "{ users { edges { node { id email } } } messages { edges { node { user { id email } } } } }"
CLOSE = "mutation($password: String) { deleteUser(currentPassword: $password) }"
PROOF, WRONG = {"currentPassword": CANARY_PASSWORD}, {"currentPassword": "wrong"}
CHANGES = "subscription($after: String) { userCreated(after: $after) { id email } }"


class EventReaders:
    """Reads what is said on `users` on every protocol."""

    @staticmethod
    async def live(person: Person) -> list[Any]:
        """Subscribed everywhere; each reads the user of the next event."""
        socket, device = await person.websocket(), await person.device()
        assert (await socket.ask(type="subscribe", topic="users"))["type"] == "subscribed"
        assert (await device.ask(0x10, topic="users"))[0] == 0x12
        stream = await person.stream("GET", "/api/v1/topics/users/events")
        assert (await stream.inbox.next())[0] == "subscribed"
        graphql = await person.graphql_socket()
        graphql.say(type="subscribe", id="1", payload={"query": CHANGES})
        assert (await graphql.ask(type="ping"))["type"] == "pong"

        async def by_socket() -> Any:
            return (await socket.inbox.next())["data"]["user"]

        async def by_device() -> Any:
            return (await device.inbox.next())[1]["content"]["user"]

        async def by_stream() -> Any:
            return (await stream.inbox.next())[1]["data"]["user"]

        async def by_graphql() -> Any:
            return (await graphql.inbox.next())["payload"]["data"]["userCreated"]

        return [by_socket, by_device, by_stream, by_graphql]

    @staticmethod
    async def replayed(person: Person, after: str) -> list[Any]:
        """The users of all events on `users` behind a cursor."""
        socket = await person.websocket()
        said = await socket.ask(type="subscribe", topic="users", after=after)
        assert said["type"] == "subscribed" and said["recovered"], said
        found = []
        while (said := await socket.inbox.next())["type"] == "message":
            found.append(said["data"]["user"])
        return found


class HiddenAddresses(LiveCase):
    """`PROFILE_EMAIL=self`."""

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, auth=evolve(config.auth, profile_email=SELF))

    async def test_nobody_sees_anothers_address(self) -> None:
        """On no protocol, in no list, relation, event or replay; everybody sees their own."""
        ann, bob = await self.person("ann"), await self.person("bob")
        _, answer = await ann.rest.ask("GET", "/api/v1/auth/me")
        cursor = answer["cursor"]
        self.assertEqual(answer["data"]["email"], "ann@example.org")
        for person in (ann, bob):
            _, answer = await person.rest.ask("GET", f"/api/v1/users/{ann.id}")
            self.assertEqual(answer["data"].get("email"), "ann@example.org" if person is ann else None)
        await ann.rest.ask("POST", "/api/v1/messages", {"content": "hello", "channelId": "c"})
        answer = await bob.rest.graphql(USERS)
        by_id = {edge["node"]["id"]: edge["node"]["email"] for edge in answer["data"]["users"]["edges"]}
        self.assertEqual(by_id, {ann.id: None, bob.id: "bob@example.org"})
        (message,) = answer["data"]["messages"]["edges"]
        self.assertEqual(message["node"]["user"], {"id": ann.id, "email": None})
        readers = await EventReaders.live(bob)
        carol = await self.person("carol")
        for read in readers:
            user = await read()
            self.assertEqual((user["id"], user.get("email")), (carol.id, None))
        answer = await ann.rest.graphql(UPDATE, input={"email": "anna@example.org"})
        self.assertEqual(answer["data"]["updateUser"]["email"], "anna@example.org")
        replayed = await EventReaders.replayed(bob, cursor)
        self.assertEqual([user["id"] for user in replayed], [carol.id, ann.id])
        self.assertNotIn("@", str(replayed))


class ChangedAddress(LiveCase):
    async def test_old_events_do_not_tell_the_old_address(self) -> None:
        """Not even from the pages that were kept for the next reader, on any instance."""
        ann, bob = await self.person("ann"), await self.person("bob")
        _, answer = await bob.rest.ask("GET", "/api/v1/auth/me")
        cursor = answer["cursor"]
        await ann.rest.ask("PUT", f"/api/v1/users/{ann.id}", {"name": "Anna"})
        for each in (ann, bob):
            (user,) = await EventReaders.replayed(each, cursor)
            self.assertEqual((user["name"], user["email"]), ("Anna", "ann@example.org"))
        await ann.rest.ask("PUT", f"/api/v1/users/{ann.id}", {"email": "anna@example.org"})
        await self.told_everywhere()
        for each in (ann, bob):
            told = [user.get("email") for user in await EventReaders.replayed(each, cursor)]
            self.assertEqual(told, [None, "anna@example.org"])


class ClosedRegistration(LiveCase):
    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        return evolve(config, auth=evolve(config.auth, registration=CLOSED))

    async def test_both_ways_in_say_so(self) -> None:
        rest = Rest(self.address)
        fields = {"email": "eve@example.org", "name": "Eve", "password": PASSWORD}
        status, answer = await rest.ask("POST", "/api/v1/auth/register", fields)
        text = "Registration is closed on this server; its operators make accounts"
        self.assertEqual((status, answer["error"]), (403, {"code": 5, "message": text}))
        (error,) = (await rest.graphql(REGISTER, input=fields))["errors"]
        self.assertEqual((error["message"], error["extensions"]["code"]), (text, "FORBIDDEN"))


class HiddenAddressesOnPostgreSQL(Shared, HiddenAddresses):
    pass


class ChangedAddressOnPostgreSQL(Shared, ChangedAddress):
    pass


class OldSession(LiveCase):
    """The session began 16 minutes ago, and its token was refreshed since."""

    ahead = 0.0  # seconds that the server's clock is ahead

    def now(self) -> float:
        return super().now() + self.ahead

    async def asyncSetUp(self) -> None:
        self.ann = await self.person("ann")
        self.login = {"email": "ann@example.org", "password": CANARY_PASSWORD}
        _, answer = await self.ann.rest.ask("POST", "/api/v1/auth/login", self.login)
        self.ahead = 960.0
        fields = {"refreshToken": answer["data"]["refreshToken"]}
        _, answer = await self.ann.rest.ask("POST", "/api/v1/auth/refresh", fields)
        self.ann.rest.token = answer["data"]["token"]

    async def test_by_rest(self) -> None:
        path = f"/api/v1/users/{self.ann.id}"
        for method, fields in (
            ("PUT", {"password": "An0ther!!"}),
            ("PUT", {"email": "a@b.org"}),
            ("DELETE", {}),
        ):
            for proof, text in (({}, "Send your currentPassword"), (WRONG, "The currentPassword is wrong")):
                status, answer = await self.ann.rest.ask(method, path, fields | proof)
                self.assertEqual((status, answer["error"]["code"]), (403, 5))
                self.assertIn(text, answer["error"]["message"])
        status, answer = await self.ann.rest.ask("DELETE", path)
        self.assertEqual(status, 403)
        self.assertEqual((await self.ann.rest.ask("PUT", path, {"name": "Anna"}))[0], 200)
        self.assertEqual((await self.ann.rest.ask("PUT", path, {"email": "a@b.org"} | PROOF))[0], 200)
        self.assertEqual((await self.ann.rest.ask("DELETE", path, PROOF))[0], 204)

    async def test_by_graphql(self) -> None:
        ask = self.ann.rest.graphql
        for proof, text in (({}, "Send your currentPassword"), (WRONG, "The currentPassword is wrong")):
            for document, variables in (
                (UPDATE, {"input": {"password": "An0ther!!"} | proof}),
                (CLOSE, {"password": proof.get("currentPassword")}),
            ):
                (error,) = (await ask(document, **variables))["errors"]
                self.assertEqual(error["extensions"]["code"], "FORBIDDEN")
                self.assertIn(text, error["message"])
        self.assertNotIn("errors", await ask(UPDATE, input={"email": "a@b.org"} | PROOF))
        self.assertEqual((await ask(CLOSE, password=CANARY_PASSWORD))["data"], {"deleteUser": True})

    async def test_a_new_session_is_asked_for_nothing(self) -> None:
        _, answer = await self.ann.rest.ask("POST", "/api/v1/auth/login", self.login)
        self.ann.rest.token = answer["data"]["token"]
        self.assertEqual((await self.ann.rest.ask("DELETE", f"/api/v1/users/{self.ann.id}"))[0], 204)


class OldSessionOnPostgreSQL(Shared, OldSession):
    pass


class Devices(LiveCase):
    async def test_they_end_with_the_sessions_where_that_is_asked_for(self) -> None:
        """A new password, and the end of all sessions, on both protocols; without asking, a device goes on."""
        ann = await self.person("ann")
        fields = {"name": "pump", "grants": [{"pattern": "room.*", "verbs": ["subscribe"]}]}
        password, path = "An0ther-" + CANARY_PASSWORD, f"/api/v1/users/{ann.id}"
        logout = "mutation($credentials: Boolean) { logoutAll(credentials: $credentials) }"

        async def new_login() -> None:
            _, answer = await ann.rest.ask(
                "POST", "/api/v1/auth/login", {"email": "ann@example.org", "password": password}
            )
            ann.rest.token = answer["data"]["token"]

        for also_devices in (False, True):
            for end in (
                lambda with_: ann.rest.ask("PUT", path, {"password": password, **with_}),
                lambda with_: ann.rest.graphql(UPDATE, input={"password": password, **with_}),
                lambda with_: ann.rest.ask("POST", "/api/v1/auth/logout-all", with_ or None),
                lambda with_: ann.rest.graphql(logout, **with_),
            ):
                _, answer = await ann.rest.ask("POST", "/api/v1/auth/credentials", fields)
                made = answer["data"]
                device = await Device.open(self.address)
                self.assertEqual((await device.ask(0x01, token=made["credential"]))[0], 0x02)
                await end({"credentials": True} if also_devices else {})
                if also_devices:
                    await device.inbox.closed
                    self.assertEqual([kind for kind, _ in device.inbox.rest()], [0xFF])
                else:
                    self.assertEqual((await device.ask(0x10, topic="room.a"))[0], 0x12)
                    await device.close()
                await new_login()
                if not also_devices:
                    await ann.rest.ask("DELETE", f"/api/v1/auth/credentials/{made['id']}")
