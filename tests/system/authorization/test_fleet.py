"""The fleet of docs/configuration.md on a running server: what its rules let devices do, over every protocol."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import evolve

from multiproto.config import Config, load_config

from ...live.running import LiveCase
from ...test_pages import page, section
from ..toy_wire.toy_wire import toy_wire
from .model import FORBIDDEN, OK, Principal
from .protocol_clients import ProtocolClients


class FleetTests(LiveCase):
    wires = (*LiveCase.wires, toy_wire)

    def configure(self, config: Config) -> Config:
        text = section(page("docs/configuration.md"), "## Who may use which topics")
        [example] = [
            block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if "fleet." in block
        ]
        file = Path(self.mktemp())
        file.write_text(example, "utf-8")
        return evolve(super().configure(config), rules=load_config({}, {}, file).config.rules)

    async def test_a_device_does_not_command_the_others(self) -> None:
        """However much its owner granted it; the owner and the hub do."""
        ann, bob = await self.person("ann"), await self.person("bob")
        everything = [{"pattern": f"fleet.{ann.id}.**", "verbs": ["publish", "subscribe", "history"]}]
        principals = {
            "owner": Principal("owner", ann.token, ann.id),
            "bob": Principal("bob", bob.token, bob.id),
        }
        for name in ("pump", "drill", "hub"):
            fields = {"name": name, "grants": everything}
            _, answer = await ann.rest.ask("POST", "/api/v1/auth/credentials", fields)
            principals[name] = Principal(name, answer["data"]["credential"], ann.id)
        for name, commands, reports in (
            ("owner", {"pump", "drill"}, set()),
            ("hub", {"pump", "drill"}, set()),
            ("pump", {"pump"}, {"pump"}),
            ("drill", {"drill"}, {"drill"}),
            ("bob", set(), set()),
        ):
            clients = await ProtocolClients.open(
                principals[name], self.address, self.server.port_number("toy")
            )
            for device in ("pump", "drill"):
                for word, allowed in (("command", commands), ("report", reports)):
                    found = await clients.publish(f"fleet.{ann.id}.{device}.{word}")
                    expected = dict.fromkeys(found, OK if device in allowed else FORBIDDEN)
                    self.assertEqual(found, expected, (name, device, word))
            found = await clients.subscribe(f"fleet.{ann.id}.**", None)
            self.assertEqual(set(found.values()), {FORBIDDEN if name == "bob" else OK}, name)
            await clients.close()
