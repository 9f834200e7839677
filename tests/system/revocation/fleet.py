"""Two instances as users run them, each a `twistd` of its own, on one database; with Redis between them or without."""

from __future__ import annotations

import json
import re
from typing import Any, Sequence

import psycopg
from attrs import define, field

from tests.canary import SECRET
from tests.live.clients import Address
from tests.live.operators import look_over, metrics
from tests.live.processes import Program
from tests.live.test_twistd import TWISTD, Started
from tests.ports import free_ports
from tests.proxy import HOST, Proxy
from tests.servers import postgresql, redis

KEPT = "load.kept"  # a topic that the log keeps


class Instance(Started):
    """With the faults built in that `mutants` name."""

    def __init__(self, mutants: Sequence[str], **environment: str) -> None:
        self.address = Address(*free_ports(3))
        *words, program = TWISTD[:2]
        for mutant in mutants:
            program = f"from tests.system.revocation import mutants; mutants.{mutant}(); {program}"
        settings = {
            "PORT": str(self.address.http),
            "TCP_PORT": str(self.address.tcp),
            "METRICS_PORT": str(self.address.metrics),
            "JWT_SECRET": SECRET,
            "BCRYPT_ROUNDS": "4",
            "RATE_LIMIT_MAX": "1000000",
            "RATE_LIMIT_USER_MAX": "1000000",
            "CONNECT_RATE": "100000/s",
            "COMMAND_RATE": "100000/s",
            "PUBLISH_RATE": "100000/s",
            "CREDENTIAL_PUBLISH_RATE": "100000/s",
            "APP_ENV": "test",
            "NAMESPACES": json.dumps([{"match": KEPT}]),
            **environment,
        }
        self.program = Program.python(*words, program, *TWISTD[2:], "multiproto", **settings)


@define(eq=False)
class Fleet:
    """Rights end at `here`; those who lose them are `there`, which sees the database through `road`."""

    with_redis: bool
    is_patient: bool = False  # for a machine that does other work, too; see `mutants.is_patient`
    mutants: Sequence[str] = ()  # what the instance `there` does wrong
    road: Proxy = field(init=False)
    _instances: list[Instance] = field(factory=list, init=False)
    _database: str = field(default="", init=False)

    async def start(self) -> None:
        self._database = postgresql().new_database()
        self.road = Proxy(postgresql().port)
        self.road.listen()
        through = self._database.replace(f"{HOST}:{postgresql().port}/", f"{HOST}:{self.road.port}/")
        lane: dict[str, Any] = {"PUBSUB_ADAPTER": "memory"}
        if self.with_redis:
            lane = {"REDIS_URL": redis().url, "PUBSUB_REDIS_PREFIX": f"{through}:"}
        changes = ("is_patient",) if self.is_patient else ()
        for mutants, database in ((changes, self._database), ((*changes, *self.mutants), through)):
            self._instances.append(Instance(mutants, DATABASE_URL=database, **lane))
            await self._instances[-1].ready()  # one after the other: the first makes the tables

    @property
    def here(self) -> Address:
        return self._instances[0].address

    @property
    def there(self) -> Address:
        return self._instances[1].address

    def head(self) -> int:
        """The position of the log's end."""
        with psycopg.connect(self._database) as connection:
            found = connection.execute("SELECT max(position) FROM heads").fetchone()
        assert found is not None
        return int(found[0])

    async def position(self) -> int:
        """Up to which `there` says that it has read the log and done what it says."""
        shown = await metrics(self.there)
        (found,) = re.findall(r"^log_position (\S+)$", shown, re.MULTILINE)
        return int(float(found))

    def blind(self) -> None:
        """What `there` asks the database is lost from now on, and so is what it would be told."""
        self.road.silent = True

    def see(self) -> None:
        self.road.silent = False
        self.road.cut()

    async def stop(self) -> None:
        for instance in self._instances:
            if not instance.program.ended.called:
                await look_over(instance.address)
            await instance.program.kill()
        await self.road.stop()
        postgresql().drop(self._database)
