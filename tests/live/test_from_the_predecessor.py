"""A server on the database that it took over from the one before, as docs/from-the-predecessor.md says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

from attrs import evolve
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase

from multiproto.config import Config
from tests import canary
from tests.canary import PASSWORD
from tests.ports import free_port
from tests.postgresql.predecessor import LONG_PASSWORD, ODD_CHANNELS, USERS, fill, message_id, user_id
from tests.programs import postgresql_bin
from tests.servers import needs, postgresql
from tests.timing import RESCUE

from .clients import Rest
from .running import LiveCase

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs/from-the-predecessor.md"
BOB_TO_ANN = message_id(6)


def commands(section: str) -> list[str]:
    """The lines of the shell in one section of the page."""
    text = PAGE.read_text("utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [
        line
        for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
        if line.strip()
    ]


def run(command: str, address: str, target: str) -> str:
    """One line of the page, with the address of a real database; what it printed."""
    command = command.replace(".venv/bin/python", sys.executable).replace("--to data", f"--to {target}")
    environment = {
        "PATH": f"{postgresql_bin()}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DATABASE_URL": address,
        "NEW_DATABASE_URL": target,
    }
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


@needs("postgresql")
class TakenOverCase(LiveCase):
    """What clients find after the commands of one section of the page."""

    section = "In place"

    def configure(self, config: Config) -> Config:
        config = super().configure(config)
        self.database = self.new_database()
        fill(self.database)
        for command in [*commands("Before you begin"), *commands(self.section)]:
            run(command, self.database, self.target())
        return evolve(config, storage=self.storage(config))

    def new_database(self) -> str:
        conninfo = postgresql().new_database()
        self.addCleanup(postgresql().drop, conninfo)
        return conninfo

    def target(self) -> str:
        return ""

    def storage(self, config: Config) -> Any:
        return evolve(config.storage, url=self.database)

    async def login(self, email: str, password: str) -> tuple[str, Rest]:
        """The id of the account, and REST as its owner."""
        status, body = await Rest(self.address).ask(
            "POST", "/api/v1/auth/login", {"email": email, "password": password}
        )
        self.assertEqual(status, 200, (email, body))
        return body["data"]["user"]["id"], Rest(self.address, body["data"]["token"])

    async def messages(self, rest: Rest, path: str = "/messages?limit=100") -> list[str]:
        """Ids, newest first; the total is their number."""
        status, body = await rest.ask("GET", f"/api/v1{path}")
        self.assertEqual(status, 200, body)
        found = [message["id"] for message in body["data"]["data"]]
        self.assertEqual(body["data"]["pagination"]["total"], len(found))
        return found

    async def check_passwords(self) -> None:
        for number, (email, _, _) in enumerate(USERS[:4], 1):
            password = LONG_PASSWORD if email.startswith("dan") else PASSWORD
            self.assertEqual((await self.login(email, password))[0], user_id(number))
        for number, password in ((5, "An0ther!one"), (6, "A-third-0ne"), (7, PASSWORD), (8, "An0ther!one")):
            self.assertEqual((await self.login(USERS[number - 1][0], password))[0], user_id(number))
        self.assertEqual((await self.login("aNN@eXample.org", PASSWORD))[0], user_id(1))
        self.assertEqual((await self.login("no address", PASSWORD))[0], user_id(9))
        status, _ = await Rest(self.address).ask(
            "POST", "/api/v1/auth/login", {"email": "eve@localhost", "password": "plain text"}
        )
        self.assertEqual(status, 401)

    async def check_messages(self) -> None:
        _, ann = await self.login("ann@example.org", PASSWORD)
        _, cyd = await self.login("cyd@example.org", PASSWORD)
        everybodys = {message_id(n) for n in (1, 2, 3, 4, 8, 9, 10)}
        found = await self.messages(ann)
        self.assertEqual(set(found), everybodys | {message_id(n) for n in (5, 6, 7)})
        self.assertEqual(found[:4], [message_id(n) for n in (8, 9, 7, 6)])
        self.assertEqual(found[-1], message_id(10))
        self.assertEqual(set(await self.messages(cyd)), everybodys)
        for number, channel in enumerate(ODD_CHANNELS[1:], 2):
            in_channel = await self.messages(cyd, f"/messages/channel/{quote(channel, safe='')}")
            self.assertEqual(in_channel, [message_id(number)])
        self.assertEqual(len(await self.messages(ann, "/messages?channelId=general")), 5)
        status, body = await cyd.ask("GET", f"/api/v1/messages/{message_id(7)}")
        self.assertEqual(status, 404, body)
        status, body = await ann.ask("GET", f"/api/v1/messages/{BOB_TO_ANN}")
        self.assertEqual(body["data"]["createdAt"], "2025-05-05T03:05:22.123Z")
        answer = await ann.graphql(
            f"{{ channelMessages(channelId: {json.dumps(ODD_CHANNELS[2])}) {{"
            " edges { node { id user { name } } } pageInfo { total } }"
            " users(limit: 100) { pageInfo { total } } }"
        )
        node = {"id": message_id(3), "user": {"name": "Ann"}}
        self.assertEqual(
            answer["data"]["channelMessages"], {"edges": [{"node": node}], "pageInfo": {"total": 1}}
        )
        self.assertEqual(answer["data"]["users"]["pageInfo"]["total"], len(USERS))

    async def check_what_comes_next(self) -> None:
        """New messages are the newest; old ones can be deleted, with their event; old accounts can be changed."""
        _, ann = await self.login("ann@example.org", PASSWORD)
        status, body = await ann.ask("POST", "/api/v1/messages", {"content": "new", "channelId": "general"})
        self.assertEqual(status, 201, body)
        self.assertEqual((await self.messages(ann))[0], body["data"]["id"])
        for number in (3, 4, 7):  # of channels whose topics are too long, and to nobody
            status, body = await ann.ask("DELETE", f"/api/v1/messages/{message_id(number)}")
            self.assertEqual(status, 204, body)
        self.assertEqual(len(await self.messages(ann)), 8)
        id, upper = await self.login("Ann@Example.org", "An0ther!one")
        status, body = await upper.ask("PUT", f"/api/v1/users/{id}", {"name": "Ann Other"})
        self.assertEqual((status, body["data"]["email"]), (200, "Ann@Example.org"), body)
        status, body = await Rest(self.address).ask(
            "POST",
            "/api/v1/auth/register",
            {"email": "ANN@example.ORG", "name": "Another", "password": PASSWORD},
        )
        self.assertEqual(status, 409, body)


class InPlaceTests(TakenOverCase):
    async def test_everybody_logs_in_and_reads_and_goes_on(self) -> None:
        await self.check_passwords()
        await self.check_messages()
        await self.check_what_comes_next()


@needs("postgresql")
class StartTests(SynchronousTestCase):
    def test_a_start_alone_takes_over_nothing(self) -> None:
        """It ends with one line that says what to do."""
        database = postgresql().new_database()
        self.addCleanup(postgresql().drop, database)
        fill(database)
        ports = {name: str(free_port()) for name in ("PORT", "TCP_PORT", "METRICS_PORT")}
        done = subprocess.run(
            [Path(sys.executable).parent / "twistd", "--nodaemon", "--pidfile=", "multiproto"],
            env={**os.environ, **ports, "DATABASE_URL": database, "JWT_SECRET": canary.SECRET},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=RESCUE,
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        (line,) = done.stderr.splitlines()
        self.assertTrue(line.startswith("multiproto: this is the predecessor's database"), line)
        self.assertIn("10", run(commands("In place")[0], database, ""))


class PageTests(SynchronousTestCase):
    def test_the_variables_that_it_names_are_known(self) -> None:
        text = PAGE.read_text("utf-8").partition("\n## Its environment\n")[2].partition("\n## ")[0]
        named = set(re.findall(r"`([A-Z][A-Z_]*[A-Z])`", text))
        known = set(
            re.findall(r"^#? ?([A-Z][A-Z_]+)=", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
        )
        self.assertGreater(len(named), 30)
        self.assertEqual(named - known - {"NODE_ENV"}, set())


class UndoneTests(TakenOverCase):
    async def test_the_way_back_is_open_as_long_as_the_page_says(self) -> None:
        await self.server.stopService()
        self.running.clear()
        self.addresses.clear()
        for command in commands("The way back"):
            await deferToThread(run, command, self.database, "")
        said = await deferToThread(run, commands("In place")[0], self.database, "")
        self.assertIn("messages: 10", said)


class MovedToPostgresqlTests(InPlaceTests):
    section = "Into another PostgreSQL"

    def target(self) -> str:
        self.moved_to = self.new_database()
        return self.moved_to

    def storage(self, config: Config) -> Any:
        return evolve(config.storage, url=self.moved_to)


class MovedToSqliteTests(InPlaceTests):
    section = "Into the embedded store"

    def target(self) -> str:
        self.directory = str(Path(self.mktemp()).absolute())
        return self.directory

    def storage(self, config: Config) -> Any:
        return evolve(config.storage, directory=self.directory)
