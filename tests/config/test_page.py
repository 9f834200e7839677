"""docs/configuration.md says of settings what is so: names, values, defaults, bounds, and what is read again."""

from __future__ import annotations

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from multiproto.cli import explain_policy
from multiproto.config import Config, ConfigError, load_config, parsers
from multiproto.config.example import format_default
from multiproto.config.load import iter_settings
from multiproto.config.setting import SAME_AS_DEVELOPMENT
from multiproto.config.settings import OTHER_LOG_LEVELS
from multiproto.core.pubsub.permissions import MAX_RULES
from multiproto.observe.protocol_stats import REFUSAL_NAMES
from tests.test_pages import page, section

SECRET = "0123456789abcdef0123456789abcdef"
# Words in capitals that are no settings: errors, words of the system, and two that are wrong on purpose.
OTHERS = {
    *REFUSAL_NAMES,
    "SIGHUP",
    "NAME",
    "VALUE",
    "FILE",
    "JSON",
    "CIDR",
    "TOML",
    "JWT_SECERT",
    "DATABASE_URI",
}


class PageCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.page = page("docs/configuration.md")
        self.rows = {row.name: row for row, _ in iter_settings()}

    def load(self, toml: str = "", **environ: str) -> Config:
        file = Path(self.mktemp())
        file.write_text(toml)
        return load_config({}, environ, file, None).config

    def values(self, beginning: str) -> list[str]:
        """What is in backticks in the item or sentence that begins so."""
        text = self.page.partition(beginning)[2]
        self.assertNotEqual(text, "", beginning)
        return re.findall(r"`([^`]+)`", re.split(r"\.\s|\n- |\n\n", text)[0])


class NamesTests(PageCase):
    def test_every_name_is_one(self) -> None:
        """In the text and in its examples."""
        secret_files = {f"{name}_FILE" for name, row in self.rows.items() if row.is_secret}
        aliases = {row.alias for row in self.rows.values() if row.alias}
        named = set(re.findall(r"(?<![\w/.-])[A-Z][A-Z_]{3,}[A-Z](?!\w)", self.page))
        self.assertEqual(named - {*self.rows, *secret_files, *aliases} - OTHERS, set())
        self.assertGreater(len(named & set(self.rows)), 20)

    def test_its_example_is_the_same_in_each_source(self) -> None:
        text = section(self.page, "## Where a setting comes from")
        toml, variables = re.findall(r"```(?:toml|sh)\n(.*?)```", text, re.DOTALL)
        environ = dict(line.split("=", 1) for line in variables.splitlines() if not line.startswith("#"))
        self.assertEqual(self.load(toml), self.load(**environ))
        self.assertEqual(len(environ), 3)

    def test_namespaces_are_the_same_as_json(self) -> None:
        text = section(self.page, "## Topics that are kept")
        (toml,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
        (json,) = re.findall(r"NAMESPACES='(.*)'", text)
        telemetry, messages = self.load(toml).namespaces
        self.assertEqual(self.load(NAMESPACES=json).namespaces, (telemetry,))
        self.assertEqual(messages.match, "messages.**")

    def test_files_that_are_read_again(self) -> None:
        """Those that the table of settings marks, and that make the server listen to SIGHUP."""
        marked = {name for name, row in self.rows.items() if row.is_reloaded}
        self.assertEqual(
            set(self.values("SIGHUP makes the server read again the files that these name")), marked
        )
        self.assertFalse(Config().has_reloadable_files)
        pair = {"TLS_CERT_FILE": "a.pem", "TLS_KEY_FILE": "b.pem"}
        for name in marked:
            self.assertTrue(self.load(**(pair if name in pair else {name: "a.pem"})).has_reloadable_files)


class DefaultsTests(PageCase):
    def test_what_differs_in_production(self) -> None:
        """Each setting with a default of its own there has its row, with both."""
        words = {"any page on localhost": "", "none": ""}  # how the page writes a default that is no text
        listed = {}
        for names, *defaults in re.findall(r"^\| (`.*?) \| (.*?) \| (.*?) \|$", self.page, re.MULTILINE):
            if len(defaults) == 2:
                for name in re.findall(r"`(\w+)`", names):
                    listed[name] = tuple(words.get(each, each) for each in defaults)
        table = {
            row.name: (format_default(default), format_default(row.production_default))
            for row, default in iter_settings()
            if row.production_default is not SAME_AS_DEVELOPMENT
        }
        self.assertEqual(listed, table)

    def test_nothing_is_needed(self) -> None:
        """Development, on loopback, SQLite in data/, and no secret until the first start."""
        config = self.load()
        self.assertEqual(config, Config())
        self.assertEqual(
            (config.http.host, config.storage.engine, config.storage.directory),
            ("127.0.0.1", "sqlite", "./data"),
        )
        self.assertEqual(config.auth.jwt_secret, "")


class ValuesTests(PageCase):
    def test_times(self) -> None:
        written = [parsers.duration(0)(each) for each in self.values("- **Times** are")]
        self.assertEqual(written, [0.5, 30, 900, 43200, 604800, 604800])
        times = [row.name for row, default in iter_settings() if isinstance(default, float)]
        seconds = [name for name in times if self.parsed(name, "4000") == 4000.0]
        self.assertEqual(seconds, self.values("A bare number is milliseconds, except for"))

    def parsed(self, name: str, text: str) -> object:
        try:
            return self.rows[name].parser(text)
        except ValueError:
            return None

    def test_switches_and_words(self) -> None:
        switches = self.values("- **Switches** are")
        self.assertEqual(
            [parsers.boolean(each) for each in switches],
            [each in ("true", "yes", "on", "1") for each in switches],
        )
        self.assertEqual(len(switches), 8)
        for text in self.values("- **Words** such as"):
            found = [
                name for name in ("APP_ENV", "LOG_LEVEL", "PUBSUB_ADAPTER") if self.parsed(name, text.upper())
            ]
            self.assertEqual(len(found), 1, text)
        others = re.findall(r"`(\w+)`", self.page.partition("in any case. ")[2].partition(".\n")[0])
        self.assertEqual(dict(zip(others[:3], others[3:])), OTHER_LOG_LEVELS)

    def test_networks(self) -> None:
        self.assertEqual(len(parsers.networks(",".join(self.values("- **Networks** are")))), 3)

    def test_bounds(self) -> None:
        """At each bound of the page, and one past it."""
        shared = {"DATABASE_URL": "postgresql://h/d", "JWT_SECRET": SECRET}
        rules = ",".join(f'{{"match": "a{n}", "allow": []}}' for n in range(MAX_RULES))
        for words, good, bad in (
            ("ports are 1 to 65535", {"PORT": "1", "TCP_PORT": "65535"}, {"PORT": "65536"}),
            ("ports are 1 to 65535", {}, {"PORT": "0"}),
            ("time-outs at least 1 s", {"TCP_PING_TIMEOUT": "16s"}, {"AUTH_TIMEOUT": "999"}),
            ("`SHUTDOWN_TIMEOUT=0` is accepted", {"SHUTDOWN_TIMEOUT": "0"}, {"SHUTDOWN_TIMEOUT": "-1"}),
            ("at least 1024 bytes", {"TCP_MAX_FRAME_SIZE": "1024"}, {"WEBSOCKET_MAX_MESSAGE_SIZE": "1023"}),
            ("`DB_POOL_MAX` is at least 2", {**shared, "DB_POOL_MAX": "2"}, {**shared, "DB_POOL_MAX": "1"}),
            ("at least `DB_POOL_MIN`", {"DB_POOL_MIN": "20"}, {"DB_POOL_MIN": "21"}),
            (
                "`BCRYPT_ROUNDS` must be at least 10",
                {"APP_ENV": "production", "BCRYPT_ROUNDS": "10"},
                {"APP_ENV": "staging", "BCRYPT_ROUNDS": "9"},
            ),
            ("of at least 32 characters", {"JWT_SECRET": SECRET}, {"JWT_SECRET": SECRET[1:]}),
            (
                f"There may be {MAX_RULES} rules",
                {"RULES": f"[{rules}]"},
                {"RULES": f'[{rules},{{"match": "b", "allow": []}}]'},
            ),
        ):
            self.assertIn(words, " ".join(self.page.split()))
            self.load(**good)
            self.assertRaises(ConfigError, self.load, **bad)

    def test_mistakes_that_it_shows(self) -> None:
        """The lines of its example, as they are told."""
        shown = re.findall(
            r"^multiproto: (.*)$", section(self.page, "## When something is wrong"), re.MULTILINE
        )
        file = Path(self.mktemp())
        file.write_text(
            "prot = 1\n[[rules]]\nmatch = 'a'\nallow = []\n\n\n\n\n\n[[rules]]\nmatch = 'b'\nallow = ['read']\n"
        )
        bad = self.assertRaises(
            ConfigError, load_config, {"TCP_PORT": "3000"}, {"JWT_SECRET_FILE": "/nope"}, file, None
        )
        self.assertEqual(sorted(str(bad).replace(str(file), "multiproto.toml").splitlines()), sorted(shown))

    def test_the_command_that_explains_rules(self) -> None:
        """With the rules before it, it prints what the page shows."""
        before, _, after = self.page.partition("python -m multiproto explain ")
        file = Path(self.mktemp())
        file.write_text(re.findall(r"```toml\n(.*?)```", before, re.DOTALL)[-1])
        command, shown = re.findall(r"(.*?)```\n```\n(.*?)```", after, re.DOTALL)[0]
        arguments = shlex.split(command.replace("\\\n", " ").replace("multiproto.toml", str(file)))
        with redirect_stdout(io.StringIO()) as out:
            self.assertEqual(explain_policy.main(arguments, {}), 0)
        self.assertEqual(out.getvalue(), shown)
