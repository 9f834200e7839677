"""People whose names, addresses and passwords are not ASCII, on every protocol."""

from __future__ import annotations

import json
import unicodedata
from base64 import urlsafe_b64decode
from typing import Any

from tests.canary import CANARY

from .clients import Rest
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
