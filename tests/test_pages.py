"""The pages that we write for people: what they show and list is so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from multiproto.banner import render_banner
from multiproto.core import errors
from multiproto.core.connections.admission import FAREWELL_MESSAGES
from multiproto.core.domain.audit_log import ACTIONS
from multiproto.core.errors import ValidationError
from multiproto.core.events import EVENT_TYPES, SESSION_REVOKED
from multiproto.core.protocol import CloseReason, Subscribed
from multiproto.core.pubsub.topics import channel_topic, check_pattern, matches
from multiproto.graphql.transport import transport_ws
from multiproto.observe.metrics import Metrics
from multiproto.observe.protocol_stats import REFUSAL_NAMES, ProtocolStats
from multiproto.tcp import codec as tcp_codec
from multiproto.websocket import codec as websocket_codec

from .test_banner import DEFAULT, commands
from .test_house import MAY_IMPORT

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "multiproto"


def page(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def section(text: str, heading: str) -> str:
    """What stands below `heading`, up to the next one of its level."""
    level = heading.partition(" ")[0]
    return text.partition(f"\n{heading}\n")[2].partition(f"\n{level} ")[0]


def first_cells(table: str) -> list[str]:
    """The first cell of each row of a table, its head and rule left out."""
    rows = re.findall(r"^\| *(.*?) *\|", table, re.MULTILINE)
    return rows[2:]


def undocumented(names: set[str], text: str) -> list[str]:
    """Those of `names` that stand nowhere in backticks."""
    return sorted(names - set(re.findall(r"`([^`\n]+)`", text)))


class PagesTests(SynchronousTestCase):
    def test_the_readme_shows_the_banners_commands(self) -> None:
        readme = page("README.md").splitlines()
        self.assertEqual(
            [command for command in commands(render_banner(DEFAULT)) if command not in readme], []
        )

    def test_all_actions_of_the_audit_log_are_listed(self) -> None:
        paragraph = page("docs/rest.md").partition("### GET /auth/audit")[2].partition("```")[0]
        listed = re.findall(r"`([^`]+)`", paragraph.partition("one of")[2].partition(".\n")[0])
        self.assertEqual(sorted(listed), sorted(ACTIONS))

    def test_all_errors_are_listed_as_they_are(self) -> None:
        """Numbers, names and statuses; names that are counted and never raised are reserved."""
        table = section(page("docs/common.md"), "## Error codes")
        rows = re.findall(r"^\| (\d+) \| (\w+) \| (\d+) \| (.*) \|$", table, re.MULTILINE)
        listed = {(int(code), name, int(status)) for code, name, status, _ in rows}
        raised = {
            (refusal.code, refusal.name, refusal.status)
            for refusal in vars(errors).values()
            if isinstance(refusal, type) and issubclass(refusal, errors.Refusal)
        }
        self.assertEqual(raised - listed, set())
        reserved = {name for _, name, _, meaning in rows if meaning == "reserved"}
        self.assertEqual({name for _, name, _ in raised} | reserved, set(REFUSAL_NAMES))
        self.assertEqual({name for _, name, _, _ in rows} - {"SUCCESS"}, set(REFUSAL_NAMES))

    def test_all_metrics_are_listed(self) -> None:
        metrics = Metrics()
        metrics.add_protocol(ProtocolStats("tcp"))
        names = {
            family.name.replace("tcp_", "PROTOCOL_") + ("_total" if family.type == "counter" else "")
            for family in metrics.registry.collect()
            if not family.name.startswith(("process_", "python_gc_"))
        }
        text = page("docs/metrics.md")
        self.assertEqual(undocumented(names, text), [])
        listed = {
            name
            for cell in re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
            for name in re.findall(r"`([^`]+)`", cell)
        }
        self.assertEqual(listed - names, set())

    def test_a_metric_that_is_not_listed_is_found(self) -> None:
        self.assertEqual(
            undocumented({"http_requests_total", "made_up"}, page("docs/metrics.md")), ["made_up"]
        )


class EventsPageTests(SynchronousTestCase):
    """docs/events.md; its examples are compared with real deliveries in tests/live/test_events_page.py."""

    def setUp(self) -> None:
        self.page = page("docs/events.md")

    def cells(self, heading: str) -> list[list[str]]:
        """The cells of each row of the tables below `heading`, without backticks, heads and rules left out."""
        rows = re.findall(r"^\| (.*) \|$", section(self.page, heading), re.MULTILINE)
        cells = [[cell.strip().strip("`") for cell in row.split(" | ")] for row in rows]
        return [row for row in cells if row[0] not in ("channel", "character", "pattern", "topic")]

    def test_every_event_is_listed(self) -> None:
        listed = re.findall(r"^### `(.*?)`", section(self.page, "## Every event"), re.MULTILINE)
        self.assertEqual({*listed, SESSION_REVOKED}, {*EVENT_TYPES})
        self.assertIn(f"`{SESSION_REVOKED}`", section(self.page, "## Topics of the server"))

    def test_how_a_channel_becomes_a_topic(self) -> None:
        rows = [row for row in self.cells("## How a channel becomes a topic") if len(row) == 2]
        self.assertEqual([row for row in rows if channel_topic(row[0]) != row[1]], [])
        self.assertGreater(len(rows), 10)
        [block] = re.findall(r"```python\n(.*?)```", self.page, re.DOTALL)
        found: dict[str, Any] = {}
        exec(block, found)
        text = "".join(map(chr, range(1, 0xD800))) + "".join(map(chr, range(0xE000, 0x11000)))
        self.assertEqual(found["channel_topic"](text), channel_topic(text))

    def test_how_many_characters_fit(self) -> None:
        rows = [row for row in self.cells("## How a channel becomes a topic") if len(row) == 3]
        self.assertEqual(len(rows), 5)
        for character, size, most in rows:
            self.assertEqual(len(channel_topic(character).encode()), len("messages.channel.") + int(size))
            check_pattern(channel_topic(character * int(most)))
            if int(most) < 100:
                self.assertRaises(ValidationError, check_pattern, channel_topic(character * (int(most) + 1)))

    def test_what_a_subscription_hears(self) -> None:
        """Every pattern that is said to hear something covers a topic of the first table; the others cover none."""
        topics = [row[0] for row in self.cells("## Topics of the server") if row[0] != "_…"]
        self.assertEqual(len(topics), 5)
        for patterns, heard, *_ in self.cells("## What a subscription hears"):
            for pattern in re.split("`, `", patterns):
                words = re.sub("<.*?>", "<id>", pattern).split(".")
                covered = any(matches(words, re.sub("<.*?>", "<id>", topic).split(".")) for topic in topics)
                self.assertEqual(covered, not heard.startswith("nothing: no"), pattern)


class ProtocolPagesTests(SynchronousTestCase):
    """How connections end and what replies may have, as the pages of the protocols list it."""

    def rows(self, name: str, heading: str) -> list[tuple[str, str]]:
        """The first two cells of each row below `heading`."""
        return re.findall(r"^\| (.*?) \| (.*?) \|", section(page(name), heading), re.MULTILINE)

    def test_last_errors_of_tcp(self) -> None:
        rows = self.rows("docs/tcp.md", "## How a connection ends")
        for reason, refusal in tcp_codec.FAREWELL_ERRORS.items():
            texts = [text for code, text in rows if code == str(refusal.code)]
            self.assertTrue(any(FAREWELL_MESSAGES[reason] in text for text in texts), reason)

    def test_close_codes_of_websockets(self) -> None:
        rows = self.rows("docs/websocket.md", "## How a connection ends")
        listed = {int(code) for code, _ in rows if code.isdigit()}
        by_protocol_errors = {1002, 1007, 1008, 1009}
        self.assertEqual(listed, {*websocket_codec.CLOSE_CODES.values()} | by_protocol_errors)
        for reason, code in (
            (CloseReason.SHUTDOWN, "1001"),
            (CloseReason.LOG_REPLACED, "1012"),
            (CloseReason.IDLE_TIMEOUT, "1001"),
        ):
            self.assertIn((code, f'"{FAREWELL_MESSAGES[reason]}"'), rows)

    def test_close_codes_of_graphql(self) -> None:
        rows = self.rows("docs/graphql.md", "### Over WebSocket")
        listed = {int(code) for codes, _ in rows for code in re.findall(r"\d{4}", codes)}
        own = {code for name, code in vars(transport_ws).items() if name.isupper() and isinstance(code, int)}
        own -= {transport_ws.MAX_ID_LENGTH}
        self.assertEqual(listed, own | {1002, 1007, 1009})

    def test_every_field_of_a_subscribed(self) -> None:
        """However much it has to say."""
        reply = Subscribed("a", "id", "log", "cursor", True, "ref", scope="instance", warning="nothing")
        frame, message = tcp_codec.encode(reply, 0.0)[5:], websocket_codec.encode(reply, 0.0)
        for name, row, text in (
            ("docs/tcp.md", r"\| `0x12` \| SUBSCRIBED \|(.*)", frame),
            ("docs/websocket.md", r"\| `subscribed` \|(.*)", message[message.index(b"{") :]),
        ):
            [listed] = re.findall(rf"^{row}$", page(name), re.MULTILINE)
            for field in json.loads(text).keys() - {"type", "timestamp", "id"}:
                self.assertIn(f"`{field}`", listed, name)


class GlossaryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.entries = re.findall(r"^\*\*(.+?)\.\*\* (.+)$", page("docs/glossary.md"), re.MULTILINE)

    def test_it_is_alphabetical(self) -> None:
        words = [word.lower() for word, _ in self.entries]
        self.assertEqual(words, sorted(words))
        self.assertGreater(len(words), 40)

    def test_each_names_what_there_is(self) -> None:
        """In brackets at the end: classes of the package, and files or folders."""
        sources = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
        classes = set(re.findall(r"^class (\w+)", sources, re.MULTILINE))
        for word, text in self.entries:
            names = re.findall(r"`([^`]+)`", text.rpartition("(")[2])
            self.assertNotEqual(names, [], f"{word} names nothing")
            for name in names:
                there = name in classes or (ROOT / name).exists() or (PACKAGE / name).exists()
                self.assertTrue(there, f"{word} names {name}, which is not there")


class RoomsTests(SynchronousTestCase):
    def test_every_folder_has_its_row(self) -> None:
        """CONTRIBUTING.md says of each what it is for."""
        rows = first_cells(section(page("CONTRIBUTING.md"), "## Where things are"))
        listed = {name.rstrip("/") for row in rows for name in re.findall(r"`([^`]+)`", row)}
        folders = {f"multiproto/{path.name}" for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
        folders |= {f"multiproto/core/{path.name}" for path in (PACKAGE / "core").iterdir() if path.is_dir()}
        folders -= {"multiproto/core/__pycache__"}
        self.assertEqual(folders - listed, set(), "folders without a row")
        self.assertEqual({name for name in listed if not (ROOT / name).exists()}, set(), "rows of nothing")

    def test_what_each_may_import_is_what_is_checked(self) -> None:
        table = section(page("CONTRIBUTING.md"), "## Where things are")
        rows = re.findall(r"^\| `multiproto/(\w+)` \|.*\| (.*?) \|$", table, re.MULTILINE)
        listed = {folder: set(re.findall(r"`(\w+)`", imports)) for folder, imports in rows}
        self.assertEqual(listed, {folder: MAY_IMPORT[folder] for folder in listed})
        self.assertGreater(len(listed), 15)
