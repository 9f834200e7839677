"""What operators are told to do, step by step, as docs/operations.md and docs/configuration.md have it."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests import canary
from tests.programs import postgresql_bin
from tests.servers import needs, postgresql, redis

from ..timing import RESCUE
from .clients import Person, Rest, WebSocket
from .processes import ROOT
from .test_twistd import STOPPED, Started, TwistdCase

LOGGED_KEYS = "tokens are signed with"  # in the log, each time that the keys were read


def commands(heading: str) -> list[str]:
    """The blocks of commands below a heading of docs/operations.md."""
    section = (
        (ROOT / "docs/operations.md")
        .read_text("utf-8")
        .partition(f"\n## {heading}\n")[2]
        .partition("\n## ")[0]
    )
    return re.findall(r"^ *```bash\n(.*?)^ *```", section, re.DOTALL | re.MULTILINE)


class ProcedureCase(TwistdCase):
    def setUp(self) -> None:
        super().setUp()
        self.data.mkdir(mode=0o700)
        self.settings: dict[str, str] = {}  # of all that are started
        self.running: list[Started] = []

    async def run_one(self, instance: int = 0) -> Started:
        """Start it, or the one that takes its place, with the settings of now."""
        if instance < len(self.running):
            await self.stop(self.running[instance])
        started = await self.start(**self.settings).ready()
        self.running[instance : instance + 1] = [started]
        return started

    async def stop(self, started: Started) -> None:
        started.program.signal("TERM")
        self.assertEqual(await started.program.ended, STOPPED, started.output)

    def paste(self, command: str) -> None:
        """Where the data directory is, as the pages have it."""
        subprocess.run(
            ["/bin/bash", "-euo", "pipefail", "-c", command], check=True, cwd=self.data.parent, timeout=RESCUE
        )

    async def until(self, happened: Any) -> None:
        give_up = reactor.seconds() + RESCUE  # type: ignore[attr-defined]
        while not await happened():
            self.assertLess(reactor.seconds(), give_up)  # type: ignore[attr-defined]
            await deferLater(reactor, 0.02)  # type: ignore[arg-type]

    async def tokens(self, started: Started) -> dict[str, str]:
        fields = {"email": "ann@example.org", "password": canary.PASSWORD}
        status, answer = await Rest(started.address).ask("POST", "/api/v1/auth/login", fields)
        self.assertEqual(status, 200, answer)
        found: dict[str, str] = answer["data"]
        return found

    async def login(self, started: Started) -> str:
        return (await self.tokens(started))["token"]

    async def accepts(self, started: Started, token: str) -> bool:
        status, _ = await Rest(started.address, token).ask("GET", "/api/v1/auth/me")
        self.assertIn(status, (200, 401))
        return status == 200

    async def socket(self, started: Started, token: str) -> WebSocket:
        socket = await WebSocket.open(started.address)
        self.assertEqual((await socket.ask(type="auth", token=token))["type"], "auth_success")
        return socket


class KeyTests(ProcedureCase):
    async def test_changing_the_key(self) -> None:
        """The page's commands, with SIGHUP after each: nobody is logged out before the old key is removed."""
        make, add, sign, remove, show = commands("Changing the key that signs tokens")
        data = f"{self.data.name}/"
        self.paste(make.replace("data/", data))
        self.settings = {
            "JWT_PRIVATE_KEY_FILE": str(self.data / "signing.pem"),
            "JWT_PUBLIC_KEY_FILES": str(self.data / "known.pem"),
        }
        started = await self.run_one()
        await Person.register(started.address, "ann")
        old, readings = await self.login(started), 1

        async def read_again() -> bool:
            return started.output.count(LOGGED_KEYS) == readings

        for number, step in enumerate((add, sign, remove)):
            self.paste(step.replace("data/", data))
            started.program.signal("HUP")
            readings += 1
            await self.until(read_again)
            new = await self.login(started)
            self.assertTrue(await self.accepts(started, new), step)
            self.assertEqual(await self.accepts(started, old), number < 2, step)
        self.assertIn("/.well-known/jwks.json", show)
        _, keys = await Rest(started.address).ask("GET", "/.well-known/jwks.json")
        self.assertEqual(len(keys["keys"]), 1)

    async def test_a_stolen_key(self) -> None:
        """All of it at once: what it signed is refused, and refresh tokens give new ones."""
        make, *_ = commands("Changing the key that signs tokens")
        self.paste(make.replace("data/", f"{self.data.name}/"))
        self.settings = {
            "JWT_PRIVATE_KEY_FILE": str(self.data / "signing.pem"),
            "JWT_PUBLIC_KEY_FILES": str(self.data / "known.pem"),
        }
        started = await self.run_one()
        await Person.register(started.address, "ann")
        old = await self.tokens(started)
        self.paste(make.replace("data/", f"{self.data.name}/"))
        started = await self.run_one()
        self.assertFalse(await self.accepts(started, old["token"]))
        await self.check_refresh(started, old)

    async def test_another_secret(self) -> None:
        """docs/configuration.md#the-signing-secret: the file is removed, and the server makes another."""
        started = await self.run_one()
        await Person.register(started.address, "ann")
        old = await self.tokens(started)
        await self.stop(started)
        (self.data / "jwt-secret").unlink()
        self.running.clear()
        started = await self.run_one()
        self.assertFalse(await self.accepts(started, old["token"]))
        await self.check_refresh(started, old)

    async def check_refresh(self, started: Started, old: dict[str, str]) -> None:
        asked = {"refreshToken": old["refreshToken"]}
        status, answer = await Rest(started.address).ask("POST", "/api/v1/auth/refresh", asked)
        self.assertEqual(status, 200, answer)
        self.assertTrue(await self.accepts(started, answer["data"]["token"]))


@needs("postgresql", "redis")
class FromASecretToAKeyTests(ProcedureCase):
    """Two instances on one PostgreSQL and one Redis, restarted one after the other."""

    def setUp(self) -> None:
        super().setUp()
        self.database = postgresql().new_database()
        self.addCleanup(postgresql().drop, self.database)
        self.secret = self.data / "secret"
        self.secret.write_text(canary.SECRET)

    async def test_each_step(self) -> None:
        """After each restart, tokens from before it are good on both, and live topics reach the other one."""
        make, *_ = commands("Changing the key that signs tokens")
        self.paste(make.replace("data/", f"{self.data.name}/"))
        shared = {
            "DATABASE_URL": self.database,
            "REDIS_URL": redis().url,
            "PUBSUB_REDIS_PREFIX": f"{self.id()}:",
        }
        secret, file = {"JWT_SECRET_FILE": str(self.secret)}, str(self.data / "signing.pem")
        public = {"JWT_PUBLIC_KEY_FILES": str(self.data / "known.pem")}
        self.settings = {**shared, **secret}
        await Person.register((await self.run_one(0)).address, "ann")
        await self.run_one(1)
        tokens = [await self.login(each) for each in self.running]
        for step in (
            {**secret, **public},
            {**secret, **public, "JWT_PRIVATE_KEY_FILE": file},
            {"PUBSUB_REDIS_SECRET_FILE": str(self.secret), **public, "JWT_PRIVATE_KEY_FILE": file},
        ):
            self.settings = {**shared, **step}
            if "JWT_SECRET_FILE" not in step:  # JWT_EXPIRES_IN has passed: only tokens of the key are about
                by_secret, tokens = tokens[:4], tokens[4:]
            for instance in (0, 1):
                await self.run_one(instance)
                for each in self.running:
                    for token in tokens:
                        self.assertTrue(await self.accepts(each, token), (step, instance))
                await self.check_live(tokens[-1])
            tokens += [await self.login(each) for each in self.running]
        for each in self.running:
            for token in by_secret:
                self.assertFalse(await self.accepts(each, token))

    async def check_live(self, token: str) -> None:
        """What is published on one is delivered on the other, either way."""
        for publisher, subscriber in (self.running, reversed(self.running)):
            socket = await self.socket(subscriber, token)
            subscribed = await socket.ask(type="subscribe", topic="room.1")
            self.assertNotIn("scope", subscribed)
            status, _ = await Rest(publisher.address, token).ask("POST", "/api/v1/topics/room.1", {"data": 1})
            self.assertEqual(status, 202)
            self.assertEqual((await socket.inbox.next())["data"], 1)
            await socket.close()

    async def test_what_stops_who_forgets_the_last_of_it(self) -> None:
        """The line says what to set."""
        self.paste(commands("Changing the key that signs tokens")[0].replace("data/", f"{self.data.name}/"))
        key = {"JWT_PRIVATE_KEY_FILE": str(self.data / "signing.pem")}
        started = self.start(DATABASE_URL=self.database, REDIS_URL=redis().url, **key)
        await self.failed(started, "PUBSUB_REDIS_SECRET (default)", "to what it was")


class LogCase(ProcedureCase):
    async def publish(self, started: Started, token: str, data: str) -> str | None:
        """Gives its cursor, on a topic that is kept."""
        rest = Rest(started.address, token)
        status, answer = await rest.ask("POST", "/api/v1/topics/kept.it", {"data": data})
        self.assertEqual(status, 202)
        cursor: str | None = answer["data"].get("cursor")
        return cursor

    async def resumed(self, started: Started, token: str, after: str) -> tuple[bool, list[Any]]:
        """Whether it is recovered, and what is replayed."""
        socket = await self.socket(started, token)
        subscribed = await socket.ask(type="subscribe", topic="kept.*", after=after)
        if not subscribed["recovered"]:
            await socket.close()
            return False, []
        found = []
        while (said := await socket.inbox.next())["type"] == "message":
            found.append(said["data"])
        self.assertEqual(said["type"], "caught_up")
        await socket.close()
        return True, found


class StorageTests(LogCase):
    async def test_a_backup_is_restored(self) -> None:
        self.settings["NAMESPACES"] = '[{"match": "kept.*"}]'
        started = await self.run_one()
        await Person.register(started.address, "ann")
        token = await self.login(started)
        first, second = [await self.publish(started, token, data) for data in ("first", "second")]
        (backup,) = commands("Backup and restore")
        python = f"{sys.executable} -c"
        self.paste(backup.replace(".venv/bin/python -c", python).replace("data/", f"{self.data.name}/"))
        lost = await self.publish(started, token, "lost")
        await self.stop(started)
        self.running.clear()
        (self.data / "backup.db").rename(self.data / "multiproto.db")
        for suffix in ("-wal", "-shm"):
            (self.data / f"multiproto.db{suffix}").unlink(missing_ok=True)
        started = await self.run_one()
        assert first and second and lost
        self.assertEqual(await self.resumed(started, token, first), (True, ["second"]))
        await self.publish(started, token, "third")
        self.assertEqual(await self.resumed(started, token, second), (True, ["third"]))
        await self.publish(started, token, "fourth")
        self.assertEqual(await self.resumed(started, token, lost), (False, []))

    async def test_a_namespace_comes_and_goes(self) -> None:
        """docs/configuration.md#topics-that-are-kept: it keeps what is published from that start on, and begins anew."""
        started = await self.run_one()
        await Person.register(started.address, "ann")
        token = await self.login(started)
        self.assertIsNone(await self.publish(started, token, "live"))
        namespace = {"NAMESPACES": '[{"match": "kept.*"}]'}
        self.settings = namespace
        started = await self.run_one()
        first = await self.publish(started, token, "one")
        await self.publish(started, token, "two")
        assert first
        self.assertEqual(await self.resumed(started, token, first), (True, ["two"]))
        self.settings = {}
        started = await self.run_one()
        self.assertIsNone(await self.publish(started, token, "live again"))
        self.settings = namespace
        started = await self.run_one()
        self.assertEqual(await self.resumed(started, token, first), (False, []))
        third = await self.publish(started, token, "three")
        await self.publish(started, token, "four")
        assert third
        self.assertEqual(await self.resumed(started, token, third), (True, ["four"]))


@needs("postgresql")
class RestoreTests(LogCase):
    """docs/instances.md#backup-and-restore."""

    async def test_under_a_running_instance(self) -> None:
        """What is in the backup can be resumed from; whoever knows what it never had is told so."""
        database = postgresql().new_database()
        self.addCleanup(postgresql().drop, database)
        self.settings = {
            "DATABASE_URL": database,
            "JWT_SECRET": canary.SECRET,
            "NAMESPACES": '[{"match": "kept.*"}]',
        }
        started = await self.run_one()
        await Person.register(started.address, "ann")
        token = await self.login(started)
        first, second = [await self.publish(started, token, data) for data in ("first", "second")]
        page = (ROOT / "docs/instances.md").read_text("utf-8")
        backup, restore = re.findall(r"^(pg_dump .*|.* pg_restore .*)$", page, re.MULTILINE)
        self.paste(self.of_postgresql(backup, database))
        lost = await self.publish(started, token, "lost")
        assert first and second and lost

        listener = await self.socket(started, token)
        await listener.ask(type="subscribe", topic="kept.*")

        async def published() -> bool:
            """The first attempts may meet a connection to the database that the restore has ended."""
            rest = Rest(started.address, token)
            return (await rest.ask("POST", "/api/v1/topics/kept.it", {"data": "third"}))[0] == 202

        self.paste(self.of_postgresql(restore, database))
        await self.until(published)
        code, _ = await listener.inbox.closed
        self.assertEqual(code, 1012)
        self.assertEqual(await self.resumed(started, token, lost), (False, []))
        self.assertEqual(await self.resumed(started, token, first), (True, ["second", "third"]))

    def of_postgresql(self, command: str, database: str) -> str:
        """`command`, with the programs that the tests' server is of."""
        return f"export DATABASE_URL='{database}' PATH='{postgresql_bin()}':\"$PATH\"; {command}"


@needs("postgresql")
class MovingTests(LogCase):
    """docs/instances.md#from-the-embedded-store."""

    async def test_tokens_and_cursors_stay_good(self) -> None:
        database = postgresql().new_database()
        self.addCleanup(postgresql().drop, database)
        self.settings["NAMESPACES"] = '[{"match": "kept.*"}]'
        started = await self.run_one()
        await Person.register(started.address, "ann")
        token = await self.login(started)
        first = await self.publish(started, token, "first")
        await self.publish(started, token, "second")
        await self.stop(started)
        self.running.clear()
        page = (ROOT / "docs/instances.md").read_text("utf-8")
        found = re.search(
            r"^\.venv/bin/(python -m multiproto\.move) --from data --to \S+$", page, re.MULTILINE
        )
        assert found is not None
        words = found[1].split()[1:]
        subprocess.run(
            [sys.executable, *words, "--from", str(self.data), "--to", database],
            check=True,
            cwd=ROOT,
            timeout=RESCUE,
        )
        self.settings |= {"DATABASE_URL": database, "JWT_SECRET_FILE": str(self.data / "jwt-secret")}
        started = await self.run_one()
        assert first
        self.assertTrue(await self.accepts(started, token))
        self.assertEqual(await self.resumed(started, token, first), (True, ["second"]))
