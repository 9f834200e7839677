"""Which part of the package may import which, and that no two import each other."""

from __future__ import annotations

import ast
import configparser
from collections import Counter
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Mapping

from twisted.trial.unittest import SynchronousTestCase

import multiproto

ROOT = Path(multiproto.__file__).parent

SHARED = {"core", "observe", "base"}  # what a protocol or an adapter may use

# A folder or a file of the package -> what else of the package it may import.
MAY_IMPORT: dict[str, set[str]] = {
    "base": set(),
    "observe": {"base"},
    "core": {"base", "observe"},
    "auth": SHARED,
    "log": SHARED,
    "broker": SHARED | {"redis"},
    "redis": SHARED,
    "storage": SHARED,
    "http": SHARED,
    "rfc6455": SHARED,
    "websocket": SHARED | {"rfc6455"},
    "graphql": SHARED | {"rfc6455"},
    "tcp": SHARED,
    "config": {"base", "core"},
    "edge": SHARED,
    "reactor": {"base"},
    "cli": {"auth", "base", "config", "core", "edge", "observe", "storage"},
    "workers": {"banner", "base", "config", "lifecycle", "observe"},
    "lifecycle": {"base"},
    "banner": {"config"},
    "__main__": set(),
    "accounts": {"cli"},
    "check_config": {"cli"},
    "check_data": {"cli"},
    "explain": {"cli"},
    "move": {"cli"},
    "wire": {"config", "core", "observe"},
    "tap": {"config", "lifecycle", "observe", "reactor", "server", "workers"},
}
# Besides: `wiring.py` makes what is in its folder, and `wire.py` describes the folder's protocol to the server.
BY_FILE_NAME = {"wiring.py": {"config"}, "wire.py": {"config", "wire"}}
UNRESTRICTED = {"__init__", "server", "wire_table"}  # they bring all together
IMPORTED_ONCE = {"server": {"tap"}, "wire_table": {"server"}}  # module -> who may import it

# What the core leaves to others, and the only files that may use the reactor and asyncio.
NOT_IN_CORE = (
    *("twisted.internet.reactor", "twisted.web", "autobahn", "klein", "graphql", "asyncio", "socket"),
    *("sqlite3", "json", "msgspec", "time", "os", "threading", "multiproto.base.strict_json"),
)
MAY_IMPORT_REACTOR = {"tap.py"}
MAY_IMPORT_ASYNCIO = {"graphql/execution/asyncio_loop.py"}

Graph = Mapping[str, set[str]]


@cache
def syntax(path: Path) -> tuple[ast.AST, ...]:
    """The module itself, and all that is in it: read once for all tests."""
    return tuple(ast.walk(ast.parse(path.read_text("utf-8"))))


@cache
def imported_names(path: Path) -> tuple[str, ...]:
    """Absolute names of everything that `path` imports, also for type checkers only."""
    package = ["multiproto", *path.relative_to(ROOT).parts[:-1]]
    names: list[str] = []
    for node in syntax(path):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*parent, *([node.module] if node.module else [])])
            names += (f"{module}.{alias.name}" for alias in node.names)
    return tuple(names)


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("multiproto", *(parts[:-1] if parts[-1] == "__init__" else parts)))


def find_circle(graph: Graph) -> list[str]:
    """One circle of the graph, its first member again at the end; empty when there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


class HouseCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.files = sorted(ROOT.rglob("*.py"))

    def room(self, path: Path) -> str:
        """The folder in the package that a file is in, or the file itself."""
        return path.relative_to(ROOT).parts[0].removesuffix(".py")

    def module_imports(self) -> dict[str, set[str]]:
        """Module -> the modules of the package that it imports."""
        modules = {module_name(path) for path in self.files}
        graph: dict[str, set[str]] = {}
        for path in self.files:
            found = set()
            for name in imported_names(path):
                parent = name.rpartition(".")[0]
                found |= {name} & modules or {parent} & modules
            graph[module_name(path)] = found - {module_name(path)}
        return graph


class ImportTests(HouseCase):
    def test_each_part_imports_only_what_it_may(self) -> None:
        """Protocols know nothing of each other, the core nothing of what is around it."""
        for path in self.files:
            room = self.room(path)
            if room in UNRESTRICTED:
                continue
            allowed = MAY_IMPORT[room] | {room, "__version__"}
            if room != "core":  # which is made without the configuration
                allowed |= BY_FILE_NAME.get(path.name, set())
            for name in imported_names(path):
                if is_within(name, "multiproto"):
                    self.assertIn(name.split(".")[1], allowed, f"{path} imports {name}")

    def test_what_brings_all_together_is_imported_by_one(self) -> None:
        for path in self.files:
            for module, importers in IMPORTED_ONCE.items():
                if any(is_within(name, f"multiproto.{module}") for name in imported_names(path)):
                    self.assertIn(self.room(path), importers, f"{path} imports {module}")

    def test_the_core_does_no_io(self) -> None:
        for path in (ROOT / "core").rglob("*.py"):
            for name in imported_names(path):
                self.assertFalse(
                    any(is_within(name, module) for module in NOT_IN_CORE), f"{path} imports {name}"
                )

    def test_only_the_start_imports_the_reactor(self) -> None:
        for path in self.files:
            if str(path.relative_to(ROOT)) not in MAY_IMPORT_REACTOR:
                for name in imported_names(path):
                    self.assertFalse(is_within(name, "twisted.internet.reactor"), f"{path} imports {name}")

    def test_asyncio_stays_in_one_file(self) -> None:
        for path in self.files:
            if str(path.relative_to(ROOT)) not in MAY_IMPORT_ASYNCIO:
                for name in imported_names(path):
                    self.assertFalse(is_within(name, "asyncio"), f"{path} imports {name}")


class CircleTests(HouseCase):
    def test_no_module_imports_itself_through_others(self) -> None:
        """Imports for type checkers only count, too: what they join can't be understood apart."""
        self.assertEqual(find_circle(self.module_imports()), [])

    def test_no_folder_imports_itself_through_others(self) -> None:
        """A folder and those in it are one thing here: they may import each other."""
        graph: dict[str, set[str]] = {}
        packages = {module_name(path.parent / "__init__.py") for path in self.files}
        for module, targets in self.module_imports().items():
            package = module if module in packages else module.rpartition(".")[0]
            for target in targets:
                other = target if target in packages else target.rpartition(".")[0]
                if not is_within(package, other) and not is_within(other, package):
                    graph.setdefault(package, set()).add(other)
        self.assertIn("multiproto.core.domain", graph["multiproto.graphql.schema"])
        self.assertEqual(find_circle(graph), [])

    def test_no_part_imports_itself_through_others(self) -> None:
        graph: dict[str, set[str]] = {}
        for path in self.files:
            names = (name.split(".") for name in imported_names(path) if is_within(name, "multiproto"))
            targets = {name[1] for name in names if len(name) > 1} - {self.room(path), "__version__"}
            graph.setdefault(self.room(path), set()).update(targets)
        self.assertIn("core", graph["http"])
        self.assertEqual(find_circle(graph), [])

    def test_a_circle_is_found(self) -> None:
        graph = {"a": {"b"}, "b": {"a.c"}, "a.c": {"a"}}
        self.assertEqual(set(find_circle(graph)), {"a", "b", "a.c"})
        self.assertEqual(find_circle({"a": {"b"}, "b": {"c"}}), [])


class NameTests(HouseCase):
    def test_a_class_name_is_used_once(self) -> None:
        names = Counter(
            node.name for path in self.files for node in syntax(path) if isinstance(node, ast.ClassDef)
        )
        self.assertEqual({name: count for name, count in names.items() if count > 1}, {})

    def test_what_is_wired_is_named(self) -> None:
        """No call with more than six arguments by position where the server is put together."""
        for path in self.files:
            if path.name in ("wiring.py", "server.py", "wire.py"):
                for node in syntax(path):
                    if isinstance(node, ast.Call):
                        self.assertLessEqual(len(node.args), 6, f"{path}:{node.lineno}")

    def test_each_module_says_what_it_is_for(self) -> None:
        """Each opens with a docstring; an `__init__.py` may be empty."""
        for path in self.files:
            module = syntax(path)[0]
            assert isinstance(module, ast.Module)
            if module.body:
                self.assertTrue(ast.get_docstring(module), f"{path} has no docstring")

    def test_no_option_may_be_abbreviated(self) -> None:
        """What begins as another is none of its names: a value may be a secret, and a later option may begin alike."""
        for folder in ("multiproto", "examples", "tests", "benchmarks"):
            for path in (ROOT.parent / folder).rglob("*.py"):
                for node in syntax(path):
                    if isinstance(node, ast.Call) and "ArgumentParser" in ast.unparse(node.func)[-14:]:
                        options = {each.arg: ast.unparse(each.value) for each in node.keywords}
                        self.assertEqual(options.get("allow_abbrev"), "False", path)

    def test_the_wheel_has_every_package(self) -> None:
        """setup.cfg names the packages one by one."""
        setup = configparser.ConfigParser()
        setup.read(ROOT.parent / "setup.cfg", "utf-8")
        packages = set(setup["options"]["packages"].split())
        ours = {".".join(("multiproto", *path.parent.relative_to(ROOT).parts)) for path in self.files}
        self.assertEqual(packages - {"multiproto.sql", "twisted.plugins"}, ours)
