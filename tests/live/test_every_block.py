"""Every code block of README.md and of the pages in docs/ does what it says: run as it stands, in order, twice.

The blocks of a page are one script, as a reader would paste them: what one sets, the next one has.  They run beside
`make run` with its own settings, limits and ports, in a network namespace of their own, so that the ports are free.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Iterator

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from ..timing import TEST_RESCUE
from .processes import ROOT

HERE = Path(__file__).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
ROUNDS = 2

# Not run, with the reason.
EXEMPT = {
    ("README.md", "make test"): "this test is part of it",
    ("docs/ledger.md", "make ledger"): "minutes of load; `make ledger` is a command of its own, and CI's",
    (
        "docs/operations.md",
        "TLS_CERT_FILE=/etc",
    ): "files of a machine of yours; the same settings with others follow",
    (
        "docs/operations.md",
        "DATABASE_URL=postgresql://",
    ): "a database and a Redis of yours; tests.live.test_workers starts several workers",
    ("docs/operations.md", "/var/log/multiproto/m.log"): "for logrotate, which is not on every machine",
}
# Run by another test, which reads the page: a page, what the block begins with, and the module.
ELSEWHERE = {
    ("docs/from-the-predecessor.md", ""): "tests.live.test_from_the_predecessor",
    ("docs/instances.md", "pg_dump"): "tests.live.test_procedures",
    ("docs/instances.md", ".venv/bin/python -m multiproto.move"): "tests.live.test_procedures",
    ("docs/instances.md", "ACL SETUSER"): "tests.redis.test_redis_broker",
    ("docs/operations.md", "map $http_upgrade"): "tests.system.proxies.documented",
    ("docs/operations.md", "server {"): "tests.system.proxies.documented",
    ("docs/operations.md", "defaults\n"): "tests.system.proxies.documented",
}
PROSE = {"", "systemd"}  # languages of what no program reads as it stands: dialogues, diagrams, output
SHELL = {"sh", "bash"}

SERVER = re.compile(r"^(\w+=\S+ )*(make run\b|twistd .*\bmultiproto\b)")
LASTING = re.compile(
    r"^(curl -s?N |\S+ -m examples\.(websocket_subscriber|graphql_subscriber|device|events)\b|\S+ -m http\.server\b)"
    r"(?!.*&$)"
)
ALONE = re.compile(r"^python -m multiproto user\b", re.MULTILINE)
SETTING = re.compile(r"^(?:# )?([A-Z][A-Z_]+)=", re.MULTILINE)
SETTINGS = set(SETTING.findall((ROOT / ".env.example").read_text("utf-8")))

# What a page's JavaScript has around it: the token that the page speaks of, and what a browser has and an older Node has not.
JAVASCRIPT = """\
const token = process.env.TOKEN;
globalThis.WebSocket ??= (await import("ws")).default;
"""


@frozen
class Block:
    """One fenced block of a page."""

    page: str
    line: int
    language: str
    text: str
    heading: str  # the last one before it
    follows: bool  # directly upon another block, whose output it shows

    @property
    def name(self) -> str:
        return f"{self.page.rpartition('/')[2]}:{self.line}"

    def is_in(self, table: dict[tuple[str, str], str]) -> str | None:
        """What the table says of it."""
        for (page, beginning), said in table.items():
            if self.page == page and self.text.startswith(beginning):
                return said
        return None

    def settings(self) -> list[str]:
        """The names of settings, if it has nothing else."""
        lines = [line for line in self.text.splitlines() if line and not line.startswith("#")]
        names = [line.partition("=")[0].removesuffix("_FILE") for line in lines]
        return names if set(names) <= SETTINGS else []


def blocks_of(path: Path) -> list[Block]:
    page, text = str(path.relative_to(ROOT)), path.read_text("utf-8")
    found, end = [], 0
    for fence in re.finditer(r"^( *)```(\S*)[^\n]*\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL):
        before = text[: fence.start()]
        body = re.sub(rf"^{fence[1]}", "", fence[3], flags=re.MULTILINE)
        headings = re.findall(r"^#+ .*$", before, re.MULTILINE)
        line = before.count("\n") + 1
        follows = fence.start() == end + 1
        found.append(Block(page, line, fence[2], body, headings[-1] if headings else "", follows))
        end = fence.end()
    return found


def script_of(blocks: list[Block]) -> Iterator[str]:
    """The commands of one page's blocks."""
    if any(block.language in ("js", "python") for block in blocks):
        yield f"block {blocks[0].name}:token"
        yield "export TOKEN=$(python3 -m examples.login)"
    for number, block in enumerate(blocks):
        if number and block.heading != blocks[number - 1].heading:
            yield "section_ends"
        yield f"block {block.name}"
        yield from commands_of(block)
    yield "section_ends"
    yield f"page_ends {blocks[0].name.partition(':')[0]}"


def commands_of(block: Block) -> Iterator[str]:
    name = block.name
    match block.language:
        case "sh" | "bash":
            if block.settings():
                yield f"cat > settings.sh <<'EOF'\n{block.text}EOF"
                yield "( set -a; . ./settings.sh; .venv/bin/python -m multiproto check-config )"
            else:
                yield from shell_commands(block)
        case "python":
            yield f"cat > {name}.py <<'EOF'\n{block.text}EOF"
            yield from in_its_terminal(f".venv/bin/python {name}.py", name)
        case "js":
            yield f"cat > {name}.mjs <<'EOF'\n{JAVASCRIPT}{block.text}EOF"
            yield from in_its_terminal(f"node {name}.mjs", name)
        case "toml":
            how = ">" if block.text.startswith("# multiproto.toml\n") else ">>"
            yield f"cat {how} multiproto.toml <<'EOF'\n{block.text}EOF"
            yield ".venv/bin/python -m multiproto check-config --config multiproto.toml"


def shell_commands(block: Block) -> Iterator[str]:
    """As they stand, but what goes on until Ctrl-C goes into a terminal of its own."""
    if ALONE.search(block.text) or any(map(SERVER.match, block.text.splitlines())):
        yield "stop_standing"
    number = 0
    for command in re.findall(r"(?:.*\\\n)*.*\n", block.text):
        if SERVER.match(command):
            yield f'{{ trap - ERR; {command}}} </dev/null >"$OUT/{block.name}.server" 2>&1 &'
            yield "serving $!"
        elif LASTING.match(command):
            number += 1
            yield from in_its_terminal(command.rstrip("\n"), f"{block.name}.{number}")
        else:
            yield command.rstrip("\n")


def in_its_terminal(command: str, name: str) -> Iterator[str]:
    file = f'"$OUT/{name}.lasting"'
    yield f"{{ trap - ERR; {command}\n}} </dev/null >{file} 2>&1 &"
    yield f"lasting $! {file}"


def last_answer(text: str) -> Any:
    """Of several, which have nothing between them."""
    found, decoder = None, json.JSONDecoder()
    while text:
        found, end = decoder.raw_decode(text)
        text = text[end:].lstrip()
    return found


def agree(said: Any, shown: Any) -> bool:
    """Whether an answer has the fields that a page shows, at every depth; what is in a list may lack optional ones."""
    match said, shown:
        case dict(), dict():
            return said.keys() == shown.keys() and all(agree(said[name], shown[name]) for name in said)
        case list(), list():
            names = {name for each in shown if isinstance(each, dict) for name in each}
            return all(each.keys() <= names for each in said if isinstance(each, dict))
    return isinstance(said, type(shown))


def namespaces() -> list[str]:
    """What a command is given to, so that it has all ports of loopback for itself, and leaves no process behind.

    Empty where that can't be had; then the ports of `make run` must be free.
    """
    private = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    private += ["sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    return private if subprocess.run([*private, "true"], capture_output=True).returncode == 0 else []


class EveryBlockTests(SynchronousTestCase):
    """`twice in a row`: the second round finds what the first one left."""

    def setUp(self) -> None:
        self.blocks = {page: blocks_of(page) for page in PAGES}
        self.all = [block for blocks in self.blocks.values() for block in blocks]
        self.run_here = {
            page: [
                block
                for block in blocks
                if block.language not in PROSE and not block.is_in(EXEMPT) and not block.is_in(ELSEWHERE)
            ]
            for page, blocks in self.blocks.items()
        }

    def test_exemptions(self) -> None:
        """Few, and each of a block that there is; and what is run elsewhere is run by a test that reads the page."""
        self.assertLessEqual(len(EXEMPT), 5)
        for table in (EXEMPT, ELSEWHERE):
            for page, beginning in table:
                self.assertTrue(
                    any(block.is_in({(page, beginning): "it"}) for block in self.all), (page, beginning)
                )
        for (page, _), module in ELSEWHERE.items():
            source = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text("utf-8")
            self.assertIn(page, source)

    def test_languages(self) -> None:
        """Each block has a language that is run, unless it is prose; no command hides in one that has none."""
        known = {*PROSE, *SHELL, "python", "js", "toml", "json"}
        for block in self.all:
            if not block.is_in(ELSEWHERE) and not block.is_in(EXEMPT):
                self.assertIn(block.language, known, block.name)
            if block.language in PROSE and not block.is_in(EXEMPT):
                self.assertNotRegex(block.text, r"(?m)^(curl|make|python3?|twistd|\.venv/\S+) ", block.name)

    def test_json(self) -> None:
        for block in self.all:
            if block.language == "json":
                json.loads(block.text)

    def test_run(self) -> None:
        out = self.folder()
        script = "\n".join(self.script(out))
        (out / "script").write_text(script)
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        ended = subprocess.run(
            [*namespaces(), "bash", str(out / "script")],
            cwd=self.checkout,
            stdin=subprocess.DEVNULL,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TEST_RESCUE,
        )
        failures = (out / "failures").read_text() if (out / "failures").exists() else ""
        self.assertEqual((failures, ended.stdout), ("", "all were run\n"), ended.stderr)
        log = (out / "server.log").read_text()
        self.assertIn('"status": 201', log)
        self.assertNotIn('"status": 429', log)
        self.check_answers(out)

    def folder(self) -> Path:
        """Where what is said goes; beside it, a checkout without data."""
        out = Path(self.mktemp()).absolute()
        out.mkdir()
        (out / "password").write_text("Passw0rd!\n")
        self.checkout = out / "checkout"
        self.checkout.mkdir()
        for name in subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0"):
            top = name.partition("/")[0]
            if top and not (self.checkout / top).exists():
                (self.checkout / top).symlink_to(ROOT / top)
        (self.checkout / ".venv").symlink_to(ROOT / ".venv")
        (self.checkout / "node_modules").symlink_to(HERE / "node" / "node_modules")
        return out

    def script(self, out: Path) -> Iterator[str]:
        yield f"OUT={out}"
        yield f". {HERE / 'pages.sh'}"
        yield "start_standing"
        for round in range(1, ROUNDS + 1):
            for page in PAGES:
                if self.run_here[page]:
                    yield f"(\nROUND={round}\npage"
                    yield from script_of(self.run_here[page])
                    yield f')\n[ $? = 0 ] || echo {page.name} was not run to its end >>"$OUT/failures"'
        yield 'stop "$(cat "$OUT/standing")"'
        yield "echo all were run"

    def check_answers(self, out: Path) -> None:
        """A JSON block right behind a command shows what it prints: the same fields."""
        shown = 0
        for block, answer in zip(self.all, self.all[1:]):
            if answer.follows and block.language in SHELL and answer.language == "json":
                said = last_answer((out / f"{block.name}.out").read_text())
                if said.get("success") is not False:  # it was said before that this may be refused
                    self.assertTrue(agree(said, json.loads(answer.text)), (block.name, said))
                    shown += 1
        self.assertGreater(shown, 5)

    if not (shutil.which("node") and shutil.which("curl") and shutil.which("openssl")):
        test_run.skip = "node, curl or openssl is not installed"  # type: ignore[attr-defined]
