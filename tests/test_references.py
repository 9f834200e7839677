"""Every reference leads somewhere: in the pages, and in what code says of pages, tests and files.

In code a page is cited by its path from the root, with an anchor where one
heading is meant: `docs/tcp.md#frames`.  In pages, links are relative, and a
name in backticks that looks like a path, a module or a class is one.
"""

from __future__ import annotations

import ast
import builtins
import re
from functools import lru_cache
from pathlib import Path
from typing import Iterable, Iterator

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "multiproto"
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "changelog.d").glob("*.md")),
)
CODE = ("multiproto", "tests", "benchmarks", "examples", "sql")  # folders
CODE_SUFFIXES = {".py", ".sql", ".js", ".c", ".graphql", ".toml"}
OTHER_FILES = ("Makefile", "pyproject.toml", "setup.cfg", ".env.example", ".ci/run")
INSTALLED = {"node_modules", "__pycache__"}

# A page by its path from the root, with or without an anchor.
_PAGE = re.compile(r"(?<![\w./-])((?:[\w.-]+/)*[\w.-]+\.md)(#[\w%-]*)?")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
_CODE_BLOCK = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CODE_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_PATH = re.compile(
    r"(?:(?:multiproto|tests|docs|benchmarks|examples|sql|changelog\.d)(?:/[\w.-]+)*/?|(?:[\w-]+/)*[\w-]+\.py)"
)
_DOTTED = re.compile(r"[a-z]\w*(?:\.\w+)+(?<!\.db)(?<!\.lock)(?<!\.toml)")
_COMMAND = re.compile(r"(?:-m|twisted\.trial) ((?:multiproto|tests|benchmarks|examples)[\w.]*)")
_CLASS = re.compile(r"_?[A-Z]+[a-z]\w*")

# What stood for a document that this repository does not have.
_ELSEWHERE = (
    (re.compile(r"\b[Cc]ontract(?:'s)?(?: \w+)?[,(]? *\(?sections? \d|\bthe contract's\b"), "names no page"),
    (re.compile(r"(?<![\w#/-])G\d{1,2}\b(?!\.md)"), "a promise without docs/guarantees.md#…"),
    (re.compile(r"\b[Ff]aults? \d"), "a fault without docs/predecessor-faults.md#…"),
)

# Folders whose names are those of variables, too: `reactor.seconds` is no module.
VARIABLE_NAMES = frozenset(("broker", "config", "log", "reactor", "redis"))

# Words in backticks that look like a class of ours and are something else.
FOREIGN_NAMES = frozenset(
    (
        *("NaN", "Infinity", "EdDSA", "EventSource", "PersistedQueryNotFound"),
        *("Accept", "Allow", "Authorization", "Connection", "Expect", "Host", "Origin", "Upgrade"),
        *("HTTPChannel", "StreamServerEndpointService", "ThrottlingFactory"),  # of Twisted
        *("DeferredQueue", "DeferredSemaphore"),
        *("DateStyle", "TimeZone"),  # of PostgreSQL
        "IRequest",  # of Twisted
        "RecentEntries",  # what docs/decisions/024-the-log-from-memory.md tried first
    )
)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    result = set()
    for title in _HEADING.findall(_CODE_BLOCK.sub("", text)):
        plain = re.sub(r"\]\([^)]*\)", "", title)  # of a link only its text counts
        anchor = re.sub(r"[^\w\- ]", "", plain.strip().lower()).replace(" ", "-")
        count = found[anchor] = found.get(anchor, -1) + 1
        result.add(f"{anchor}-{count}" if count else anchor)
    return result


@lru_cache(maxsize=None)
def anchors_of(page: Path) -> set[str]:
    return anchors(page.read_text("utf-8"))


def leads_somewhere(page: Path, anchor: str) -> bool:
    return page.is_file() and (not anchor or page.suffix != ".md" or anchor in anchors_of(page))


def faults_of_code(text: str, folder: Path = ROOT) -> Iterator[str]:
    """What is wrong with the references in a file of code, which may also name pages of its own folder."""
    for path, anchor in _PAGE.findall(text):
        if not any(leads_somewhere(place / path, anchor.removeprefix("#")) for place in (ROOT, folder)):
            yield path + anchor
    for pattern, why in _ELSEWHERE:
        yield from (f"{found[0]!r}: {why}" for found in pattern.finditer(text))
    yield from (f"`{name}`" for name in _CODE_SPAN.findall(text) if not is_known(folder, name))
    yield from (name for name in _COMMAND.findall(text) if not is_module(name))


def faults_of_page(page: Path, text: str) -> Iterator[str]:
    """What is wrong with the references in a page that stands at `page`."""
    prose = _CODE_BLOCK.sub("", text)
    for target in _LINK.findall(_CODE_SPAN.sub("", prose)):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if re.match(r"[a-z]+:", target):
            continue
        found = there.is_dir() or leads_somewhere(there, anchor) if path else anchor in anchors(text)
        if not found:
            yield target
    yield from (f"`{name}`" for name in _CODE_SPAN.findall(prose) if not is_known(page.parent, name))
    yield from (name for name in _COMMAND.findall(text) if not is_module(name))


def is_known(folder: Path, name: str) -> bool:
    """Whether a name in backticks is what it looks like: a path, a module, a class or none of these.

    Paths and modules may leave out `multiproto`, and paths the `folder` that they are named in.
    """
    if _PATH.fullmatch(name):
        bare = "/" not in name and any(PACKAGE.rglob(name))
        return bare or any((place / name).exists() for place in (ROOT, PACKAGE, folder))
    if _DOTTED.fullmatch(name):
        first = name.partition(".")[0]
        if first in CODE:
            return is_in_module(name)
        return first not in package_modules() or is_in_module(f"multiproto.{name}")
    if _CLASS.fullmatch(name):
        return name in class_names() or name in FOREIGN_NAMES
    return True


def is_in_module(name: str) -> bool:
    """Whether `name` is a module, or a module and the name of something in it."""
    module, rest = name, ""
    while module and not is_module(module):
        module, _, last = module.rpartition(".")
        rest = last
    if not module or not rest:
        return bool(module)
    return re.search(rf"\b{rest}\b", module_file(module).read_text("utf-8")) is not None


@lru_cache(maxsize=None)
def package_modules() -> frozenset[str]:
    names = {path.stem for path in PACKAGE.iterdir() if path.is_dir() or path.suffix == ".py"}
    return frozenset(names - VARIABLE_NAMES)


def module_file(name: str) -> Path:
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def is_module(name: str) -> bool:
    return module_file(name).is_file()


@lru_cache(maxsize=None)
def class_names() -> frozenset[str]:
    """Classes that our code defines or imports, of Python itself, and of the GraphQL schema."""
    names = set(dir(builtins))
    for path, text in code_files():
        if path.suffix == ".py":
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.ClassDef):
                    names.add(node.name)
                elif isinstance(node, (ast.Import, ast.ImportFrom)):
                    names.update(alias.name for alias in node.names)
                elif isinstance(node, ast.Attribute):
                    names.add(node.attr)
                elif isinstance(node, ast.Assign):
                    names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    schema = (PACKAGE / "graphql/schema.graphql").read_text("utf-8")
    names.update(re.findall(r"^(?:type|input|scalar|enum|interface) (\w+)", schema, re.MULTILINE))
    return frozenset(names)


def code_files() -> Iterator[tuple[Path, str]]:
    for folder in CODE:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in CODE_SUFFIXES and INSTALLED.isdisjoint(path.parts):
                yield path, path.read_text("utf-8")
    for name in OTHER_FILES:
        yield ROOT / name, (ROOT / name).read_text("utf-8")


class ReferenceTests(SynchronousTestCase):
    def report(self, faults: Iterable[tuple[Path, str]]) -> None:
        found = [f"{path.relative_to(ROOT)}: {fault}" for path, fault in faults]
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_references_in_code(self) -> None:
        self.report(
            (path, fault)
            for path, text in code_files()
            if path != Path(__file__)
            for fault in faults_of_code(text, path.parent)
        )

    def test_references_in_pages(self) -> None:
        self.report(
            (page, fault) for page in PAGES for fault in faults_of_page(page, page.read_text("utf-8"))
        )

    def test_broken_references_in_code_are_found(self) -> None:
        for broken in (
            "see docs/no-such-page.md",
            "see docs/tcp.md#no-such-heading",
            "(docs/decisions/999-never-decided.md)",
            "bounds of input (contract, section 1)",
            "the envelope of the contract (section 1)",
            "in the contract's words",
            "(guarantee G7)",
            "G12: ready means delivering",
            "Fault 12: nobody forges events",
            "Faults 8 and 25",
            "`core/no_such_module.py`",
            "`core.ports.NoSuchPort`",
            "`NoSuchClass`",
            "python -m multiproto.no_such_command",
        ):
            self.assertNotEqual(list(faults_of_code(broken)), [], broken)

    def test_whole_references_in_code_are_not(self) -> None:
        for whole in (
            "docs/tcp.md#frames says which",
            "(docs/guarantees.md#g7-authority-is-current)",
            "docs/predecessor-faults.md#fault-12: nobody forges events",
            "the contract that every store keeps; a guarantee",
            "`core.ports.Authenticator`, `core/ports.py`, `Hub`, ``core.no_such``, `reactor.seconds`",
        ):
            self.assertEqual(list(faults_of_code(whole)), [], whole)

    def test_broken_references_in_pages_are_found(self) -> None:
        page = ROOT / "docs/example.md"
        for broken in (
            "[gone](gone.md)",
            "[no heading](tcp.md#no-such-heading)",
            "# Here\n[nor here](#there)",
            "# Here\n```\n# there\n```\n[a comment is no heading](#there)",
            "`core/no_such_module.py`",
            "`tests/no_such_test.py`",
            "`multiproto.core.no_such_module`",
            "`NoSuchClass`",
            "```sh\npython -m multiproto.no_such_command\n```",
        ):
            self.assertNotEqual(list(faults_of_page(page, broken)), [], broken)

    def test_whole_references_in_pages_are_not(self) -> None:
        page = ROOT / "docs/example.md"
        for whole in (
            "[another page](tcp.md), [its heading](tcp.md#frames), [a folder](decisions/), [abroad](https://example.org/)",
            "# Here\n# Here\n[the second of one name](#here-1)",
            "`core/pubsub/topics.py`, `multiproto/core/`, `multiproto.core.pubsub.topics`, `Hub`, `tests/run.py`",
        ):
            self.assertEqual(list(faults_of_page(page, whole)), [], whole)
