"""Credentials on the real store: what one may ask for, who may, and what is left of them."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.domain.credentials import MAX_CREDENTIALS, MAX_LIFETIME_DAYS, NewCredential
from multiproto.core.errors import Conflict, Forbidden, NotFound, ValidationError
from multiproto.core.identity import Grant, Identity
from multiproto.core.pubsub import permissions
from multiproto.core.pubsub.permissions import HISTORY, PUBLISH, SUBSCRIBE
from multiproto.core.transactions import Step, Unit

from ...fakes import PlainPasswords, begin_session, make_account_services
from ...stores import StoreCase
from .test_accounts import ANN, PROOF, NamingTokens

GRANTS = [{"pattern": "devices.pump.**", "verbs": ["subscribe", "publish"]}]
PUMP = {"name": "pump", "grants": GRANTS}


class KeyringCase(StoreCase):
    async def asyncSetUp(self) -> None:
        self.members = make_account_services(
            self.store, PlainPasswords(), NamingTokens(), reactor, self.now, self.new_id, 1000.0
        )
        self.accounts, self.keyring = self.members.accounts, self.members.credentials
        self.ann = await self.person("Ann")
        self.bob = await self.person("Bob")

    async def person(self, name: str) -> Identity:
        fields = ANN | {"email": f"{name}@example.org", "name": name}
        user = (await self.accounts.register(fields)).value
        identity = Identity(user.id, f"session of {name}", 1e12)
        await begin_session(self.store, identity)
        return identity

    async def make(self, who: Identity | None = None, **fields: Any) -> NewCredential:
        return await self.keyring.create(who or self.ann, PUMP | fields)

    async def names(self, who: Identity | None = None) -> list[str]:
        return [each.name for each in await self.keyring.list_active(who or self.ann)]

    async def paths(self, **fields: Any) -> list[list[object]]:
        """Where the faults of a request are."""
        with self.assertRaises(ValidationError) as caught:
            await self.make(**fields)
        return [list(fault.path) for fault in caught.exception.errors]

    async def conflict(self, **fields: Any) -> str:
        with self.assertRaises(Conflict) as caught:
            await self.make(**fields)
        return str(caught.exception)


class MakingTests(KeyringCase):
    async def test_shown_once(self) -> None:
        made = await self.make(expiresIn="30d")
        public = made.to_json()
        secret = public.pop("credential")
        grant = {"pattern": "devices.pump.**", "verbs": ["publish", "subscribe"]}
        self.assertEqual(
            public,
            {
                "id": made.credential.id,
                "name": "pump",
                "grants": [grant],
                "createdAt": made.credential.created_at,
                "expiresAt": made.credential.expires_at,
            },
        )
        self.assertEqual([each.to_json() for each in await self.keyring.list_active(self.ann)], [public])
        self.assertNotIn(str(secret), repr(made))
        self.assertNotIn(str(secret).encode(), self.database_bytes())
        self.assertNotIn(str(secret)[4:].encode(), self.database_bytes())
        self.assertEqual(await self.keyring.list_active(self.bob), ())

    async def test_what_is_absent_is_left_out(self) -> None:
        made = await self.make()
        self.assertEqual(list(made.credential.to_json()), ["id", "name", "grants", "createdAt"])

    async def test_when_it_was_last_used_and_from_where(self) -> None:
        id = (await self.make()).credential.id
        at = "2027-01-15T08:00:00.000Z"
        await self.store.commit(Unit((Step("credential_used", {"id": id, "at": at, "host": "::1"}),)))
        [shown] = [each.to_json() for each in await self.keyring.list_active(self.ann)]
        self.assertEqual((shown["lastUsedAt"], shown["lastUsedFrom"]), (at, "::1"))

    async def test_names(self) -> None:
        """One topic word of at most 64 characters: it may become one."""
        for name in ("x", "n" * 64, "café", "a/b"):
            await self.make(name=name)
        for name in ("", "n" * 65, "a.b", "*", "a b", "a\n", 1, None):
            self.assertEqual(await self.paths(name=name), [["name"]], name)

    async def test_a_name_comes_once(self) -> None:
        """For each user, until it is free again; of those who ask for it at once, one gets it."""
        made = await self.make()
        self.assertEqual(await self.conflict(), "You have a credential of this name")
        await self.make(self.bob)
        await self.keyring.revoke(self.ann, made.credential.id)
        tries = [Deferred.fromCoroutine(self.make()) for _ in range(5)]
        lost = [each.addErrback(lambda failure: failure.trap(Conflict)) for each in tries]
        self.assertEqual((await gatherResults(lost)).count(Conflict), 4)

    async def test_all_faults(self) -> None:
        self.assertEqual(
            await self.paths(name="", grants=[], expiresIn="soon"), [["name"], ["expiresIn"], ["grants"]]
        )
        with self.assertRaises(ValidationError):
            await self.keyring.create(self.ann, {})

    async def test_for_how_long(self) -> None:
        for text in ("1s", f"{MAX_LIFETIME_DAYS}d", f"{MAX_LIFETIME_DAYS * 24}h", None):
            await self.make(name=str(text), expiresIn=text)
        for wrong in (
            f"{MAX_LIFETIME_DAYS + 1}d",
            f"{MAX_LIFETIME_DAYS * 86_400 + 1}s",
            "0s",
            "-1d",
            "1",
            "1w",
            "1.5h",
            " 1h",
            "١h",
            60,
        ):
            self.assertEqual(await self.paths(expiresIn=wrong), [["expiresIn"]], wrong)

    async def test_how_many(self) -> None:
        """A hundred; one that is revoked, or has expired, makes room."""
        tries = [Deferred.fromCoroutine(self.make(name=f"d{n}")) for n in range(MAX_CREDENTIALS - 1)]
        made = (await gatherResults(tries))[0]
        await self.make(name="short", expiresIn="60s")
        full = f"You have {MAX_CREDENTIALS} credentials: revoke one that is not needed"
        self.assertEqual(await self.conflict(), full)
        await self.make(self.bob)
        await self.keyring.revoke(self.ann, made.credential.id)
        await self.make()
        self.assertEqual(await self.conflict(name="more"), full)
        self.clock_ahead = 60.0
        await self.make(name="more")
        self.assertEqual(await self.conflict(name="evenmore"), full)

    async def test_one_that_has_expired_is_not_listed_and_gives_its_name_back(self) -> None:
        await self.make(expiresIn="60s")
        self.assertEqual(await self.names(), ["pump"])
        self.clock_ahead = 60.0
        self.assertEqual(await self.names(), [])
        await self.make()
        self.assertEqual(await self.names(), ["pump"])

    async def test_only_a_login_may(self) -> None:
        """Least of all make another with more rights."""
        made = await self.make()
        device = Identity(self.ann.user_id, made.credential.id, 1e12, "pump", (Grant("**", [PUBLISH]),))
        for attempt in (
            self.make(device, name="other"),
            self.keyring.list_active(device),
            self.keyring.revoke(device, made.credential.id),
        ):
            with self.assertRaises(Forbidden):
                await attempt
        self.assertEqual(await self.names(), ["pump"])

    async def test_newest_first(self) -> None:
        for name in ("a", "b", "c"):
            await self.make(name=name)
        self.assertEqual(await self.names(), ["c", "b", "a"])


class EndingTests(KeyringCase):
    async def test_revoked(self) -> None:
        """As a session: with the event that ends what lives on it."""
        id = (await self.make()).credential.id
        await self.keyring.revoke(self.ann, id)
        self.assertEqual(await self.names(), [])
        told = {"userId": self.ann.user_id, "sessionIds": [id]}
        self.assertEqual((await self.log())[-1], ("session.revoked", ("_sessions",), told))

    async def test_both_are_in_the_trail(self) -> None:
        """With the id of the credential, and nothing that it could be used with."""
        id = (await self.make()).credential.id
        await self.keyring.revoke(self.ann, id)
        page = await self.members.audit_log.own_page(self.ann, {})
        found = [(each.action, each.details) for each in page.items]
        noted = {"credential": id}
        self.assertEqual(found[:2], [("credential.revoked", noted), ("credential.created", noted)])

    async def test_not_found(self) -> None:
        """Another's, one that is gone, one that never was; nothing is told of it."""
        theirs, mine = (await self.make(self.bob)).credential.id, (await self.make()).credential.id
        await self.keyring.revoke(self.ann, mine)
        before = await self.log()
        for id in (theirs, mine, self.new_id()):
            with self.assertRaises(NotFound) as caught:
                await self.keyring.revoke(self.ann, id)
            self.assertEqual(caught.exception, NotFound.of("Credential", id))
        with self.assertRaises(ValidationError):
            await self.keyring.revoke(self.ann, "x")
        self.assertEqual(await self.log(), before)
        self.assertEqual(await self.names(self.bob), ["pump"])

    async def test_they_go_with_their_user(self) -> None:
        await self.make()
        await self.accounts.close(self.ann, self.ann.user_id, PROOF)
        self.assertEqual(await self.names(), [])


USER = "00000000-0000-7000-8000-000000000001"


class GrantsTests(SynchronousTestCase):
    def faults(self, *value: object) -> list[tuple[object, ...]]:
        return [
            fault.path
            for fault in self.assertRaises(ValidationError, permissions.parse, list(value), USER).errors
        ]

    def test_as_asked_kept_and_shown(self) -> None:
        asked = [
            {"pattern": "devices.*.état/1.**", "verbs": ["history", "subscribe", "subscribe"]},
            {"pattern": "**", "verbs": ["publish"]},
        ]
        found = permissions.parse(asked, USER)
        self.assertEqual(found, (Grant("devices.*.état/1.**", [SUBSCRIBE, HISTORY]), Grant("**", [PUBLISH])))
        self.assertEqual(permissions.serialize(found), "subscribe,history devices.*.état/1.**\npublish **")
        self.assertEqual(permissions.deserialize(permissions.serialize(found)), found)
        asked[0]["verbs"] = ["subscribe", "history"]
        self.assertEqual(permissions.to_json(found), asked)

    def test_how_many(self) -> None:
        self.assertEqual(len(permissions.parse(GRANTS * 16, USER)), 16)
        self.assertEqual(self.faults(*GRANTS * 17), [("grants",)])
        self.assertEqual(self.faults(), [("grants",)])
        for value in (None, "x", {}, GRANTS[0]):
            self.assertRaises(ValidationError, permissions.parse, value, USER)

    def test_where_the_faults_are(self) -> None:
        good = {"pattern": "a", "verbs": ["publish"]}
        self.assertEqual(
            self.faults(good, "a", {}, good | {"pattern": "us*rs"}, good | {"verbs": ["read"]}),
            [
                ("grants", 1),
                ("grants", 2, "pattern"),
                ("grants", 2, "verbs"),
                ("grants", 3, "pattern"),
                ("grants", 4, "verbs"),
            ],
        )

    def test_what_rules_and_topics_call_a_field_is_refused(self) -> None:
        """Ignored, it would grant something else."""
        grant = {"pattern": "a.*", "verbs": ["publish"]}
        for name in ("topic", "verb", "Verbs", "patern"):
            self.assertEqual(self.faults({**grant, name: "b"}), [("grants", 0, name)])
        self.assertEqual(
            self.faults({"topic": "a", "verb": "publish"})[:2],
            [("grants", 0, "topic"), ("grants", 0, "verb")],
        )
        self.assertEqual(len(permissions.parse([{**grant, "comment": "mine"}], USER)), 1)

    def test_patterns_are_checked_like_subscriptions(self) -> None:
        verbs = ["subscribe"]
        for good in ("a", "*", "**", "a.**.b", "w" * 255, ".".join("a" * 16)):
            self.assertEqual(len(permissions.parse([{"pattern": good, "verbs": verbs}], USER)), 1)
        for bad in ("", ".", "a b", "a\nb", "w" * 256, ".".join("a" * 17), "_sessions", "_canary.**", 1):
            self.assertEqual(self.faults({"pattern": bad, "verbs": verbs}), [("grants", 0, "pattern")], bad)

    def test_each_permits_something(self) -> None:
        """Whatever the rules are: as a rule that permits nothing, one is refused where it stands."""
        other = "00000000-0000-7000-8000-000000000002"
        some = {"pattern": "devices.**", "verbs": ["publish", "subscribe"]}
        for pattern, verbs, place in (
            ("users.**", "publish", "verbs"),
            ("users.created", "publish history", "verbs"),
            ("messages.channel.c", "publish", "verbs"),
            (f"messages.user.{other}", "subscribe history", "pattern"),
            (f"messages.user.{other}.**", "publish subscribe", "pattern"),
            ("messages.user", "subscribe", "pattern"),
            ("telemetry.**", "history", "verbs"),
            ("**", "publish", ""),
            ("users.**", "publish subscribe", ""),
            ("messages.*." + other, "subscribe", ""),
            (f"messages.user.{USER}", "subscribe", ""),
            ("messages.user.*", "subscribe", ""),
            ("telemetry.**", "publish history", ""),
            ("devices.*.heat", "history", ""),
        ):
            grants = [some, {"pattern": pattern, "verbs": verbs.split()}]
            if place:
                self.assertEqual(self.faults(*grants), [("grants", 1, place)], (pattern, verbs))
            else:
                self.assertEqual(len(permissions.parse(grants, USER)), 2)

    def test_verbs_are_some_and_known(self) -> None:
        for bad in ([], None, "publish", ["publish", "PUBLISH"], [["publish"]], [{}]):
            self.assertEqual(self.faults({"pattern": "a", "verbs": bad}), [("grants", 0, "verbs")], bad)
