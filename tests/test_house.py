"""The rooms of the house, and which may import which."""

from __future__ import annotations

import ast
import configparser
from pathlib import Path
from typing import Iterator

from twisted.trial.unittest import SynchronousTestCase

import multiproto

ROOT = Path(multiproto.__file__).parent

OUTSIDE = {"core", "observe", "base"}  # what a wire or an adapter may see of us

# room -> what of ours it may import, besides itself
MAY = {
    "base": set(),
    "observe": {"base"},
    "core": {"base", "observe"},
    "auth": OUTSIDE,
    "log": OUTSIDE,
    "broker": OUTSIDE | {"redis"},
    "redis": OUTSIDE,
    "storage": OUTSIDE,
    "http": OUTSIDE,
    "rfc6455": OUTSIDE,
    "websocket": OUTSIDE | {"rfc6455"},
    "graphql": OUTSIDE | {"rfc6455"},
    "tcp": OUTSIDE,
    "config": {"base", "core"},
    "edge": OUTSIDE,
    "reactor": {"base"},
    "cli": {"config", "core", "storage"},
    "workers": {"banner", "base", "config", "lifecycle"},
    "lifecycle.py": set(),
    "banner.py": {"config"},
    "explain.py": {"cli"},
    "move.py": {"cli"},
    "tap.py": {"config", "lifecycle", "observe", "reactor", "server", "workers"},
}
ALL = {
    "server.py",
    "equipment.py",
    "__init__.py",
    "explain.py",
    "move.py",
    "prompt.py",
    "reactor.py",
}  # the wiring reaches every room

# What the core leaves to others; and who alone may do it.
IO = (
    *(
        "twisted.internet.reactor",
        "twisted.web",
        "autobahn",
        "klein",
        "graphql",
        "asyncio",
        "socket",
        "sqlite3",
    ),
    *("json", "msgspec", "time", "os", "threading", "multiproto.base.strict_json"),
)
REACTOR = {"tap.py"}
ASYNCIO = {"graphql/execution/asyncio_loop.py"}


def imports(path: Path) -> Iterator[str]:
    """Absolute names of everything that `path` imports, relative ones resolved."""
    package = ["multiproto", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_of(name: str, module: str) -> bool:
    return name == module or name.startswith(module + ".")


class HouseTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.files = sorted(ROOT.rglob("*.py"))

    def room(self, path: Path) -> str:
        return path.relative_to(ROOT).parts[0]

    def test_rooms_keep_their_doors(self) -> None:
        """Wires know nothing of each other, the core of nobody outside."""
        for path in self.files:
            room = self.room(path)
            if room not in ALL:
                allowed = MAY[room] | {room.removesuffix(".py"), "__version__"}
                for name in imports(path):
                    if is_of(name, "multiproto"):
                        self.assertIn(name.split(".")[1], allowed, f"{path} imports {name}")

    def test_the_core_does_no_io(self) -> None:
        for path in (ROOT / "core").rglob("*.py"):
            for name in imports(path):
                self.assertFalse(any(is_of(name, io) for io in IO), f"{path} imports {name}")

    def test_only_the_hallway_knows_the_reactor(self) -> None:
        for path in self.files:
            if str(path.relative_to(ROOT)) not in REACTOR:
                for name in imports(path):
                    self.assertFalse(is_of(name, "twisted.internet.reactor"), f"{path} imports {name}")

    def test_asyncio_stays_in_one_file(self) -> None:
        for path in self.files:
            if str(path.relative_to(ROOT)) not in ASYNCIO:
                for name in imports(path):
                    self.assertFalse(is_of(name, "asyncio"), f"{path} imports {name}")

    def test_a_file_says_which(self) -> None:
        """Each opens with a docstring; an `__init__.py` may be empty."""
        for path in self.files:
            text = path.read_text("utf-8")
            if text:
                self.assertTrue(ast.get_docstring(ast.parse(text)), f"{path} says nothing of itself")

    def test_the_wheel_has_every_room(self) -> None:
        """setup.cfg names the packages one by one."""
        setup = configparser.ConfigParser()
        setup.read(ROOT.parent / "setup.cfg", "utf-8")
        packages = set(setup["options"]["packages"].split())
        ours = {".".join(("multiproto", *path.parent.relative_to(ROOT).parts)) for path in self.files}
        self.assertEqual(packages - {"multiproto.sql", "twisted.plugins"}, ours)
