"""What authors of client libraries rely on, to the letter (docs/client-libraries.md)."""

from __future__ import annotations

import json
import re
from itertools import product
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from multiproto.core.identity import Grant, Identity
from multiproto.core.pubsub.permissions import SUBSCRIBE
from multiproto.core.pubsub.topics import matches

from ..fakes import make_core
from .test_protocol import AUTH, PING, WELCOME, DeviceCase, frame, pong, subscribed

PAGE = Path(__file__).parents[2] / "docs/client-libraries.md"
NAMES = {
    0x02: "auth_success",
    0x12: "subscribed",
    0x13: "unsubscribed",
    0x14: "caught_up",
    0x21: "message",
    0x22: "ack",
}


class LibraryCase(DeviceCase):
    max_frame = 1024

    def setUp(self) -> None:
        self.clock = Clock()
        self.house = make_core(self.clock, "log.**")
        self.line = self.house.admission("tcp", self.limits)
        self.successResultOf(self.house.follower.startService())
        self.device, self.wire = self.connect()
        self.say(AUTH)

    def turn(self) -> list[tuple[int, Any]]:
        for _ in range(50):
            self.clock.advance(0)
        return self.wire.said()

    def kinds(self, *data: bytes) -> list[int]:
        return [kind for kind, _ in self.say(*data) + self.turn()]


class OrderTests(LibraryCase):
    def test_acknowledgements_of_what_is_logged_come_when_it_is_durable(self) -> None:
        self.house.log.slow = True
        said = self.say(frame(0x20, topic="log.a", content=1, id=1) + PING + frame(0x10, topic="b", id=2))
        self.assertEqual([kind for kind, _ in said], [0x31, 0x12])
        self.house.log.release()
        self.assertEqual(self.turn(), [(0x22, {"id": 1, "cursor": "cursor1"})])

    def test_publications_are_answered_in_order_among_themselves(self) -> None:
        """A refusal waits for the acknowledgement before it."""
        self.house.log.slow = True
        refused = frame(0x20, topic="users", content=1, id=2)
        self.assertEqual(self.say(frame(0x20, topic="log.a", content=1, id=1), refused), [])
        self.house.log.release()
        self.assertEqual([(kind, said["id"]) for kind, said in self.turn()], [(0x22, 1), (0xFF, 2)])

    def test_subscribed_comes_first_and_nothing_behind_unsubscribed(self) -> None:
        for topic in ("live.a", "log.a"):
            message = frame(0x20, topic=topic, content=1)
            said = self.kinds(
                message, frame(0x10, topic=topic) + message + frame(0x11, topic=topic) + message
            )
            self.assertEqual(said[0], 0x12)
            self.assertNotIn(0x21, said[said.index(0x13) :])

    def test_on_a_live_topic_ones_own_message_comes_before_its_acknowledgement(self) -> None:
        message = frame(0x20, topic="live.a", content=1, id=1)
        self.assertEqual(self.kinds(frame(0x10, topic="live.a"), message), [0x12, 0x21, 0x22])

    def test_unsubscribing_while_catching_up(self) -> None:
        for _ in range(3):
            self.say(frame(0x20, topic="log.a", content=1))
        self.turn()
        self.house.log.slow = True
        self.say(frame(0x10, topic="log.a", after="cursor1"))
        self.house.log.release()
        self.assertEqual(self.kinds(frame(0x11, topic="log.a")), [0x12, 0x13])
        self.house.log.slow = False
        self.house.log.release()
        self.assertEqual(self.turn(), [])


class CursorTests(LibraryCase):
    def setUp(self) -> None:
        super().setUp()
        code, *_ = re.findall("```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        found: dict[str, Any] = {}
        exec(code, found)
        self.covers = found["covers"]
        self.cursors = found["Cursors"]({"log.*": None, "log.a": None})
        self.cursors.on_connect()

    def follow(self, *data: bytes) -> None:
        for kind, fields in self.say(*data) + self.turn():
            self.cursors.on_message({"type": NAMES[kind], **fields})

    def places(self) -> tuple[str | None, str | None]:
        kept = self.cursors.to_store()
        return kept.get("log.*"), kept.get("log.a")

    def test_one_pattern_catches_up_beside_another_that_is_live(self) -> None:
        publish = frame(0x20, topic="log.a", content=1, id=1)
        self.follow(publish, publish, publish, frame(0x10, topic="log.*"))
        self.assertEqual(self.places(), ("cursor3", None))
        self.house.log.slow = True
        self.say(frame(0x10, topic="log.a", after="cursor1"))
        self.house.log.release()
        self.follow()
        self.assertEqual(self.places(), ("cursor3", "cursor1"))
        self.house.log.slow = False
        self.house.log.release()
        self.follow(publish)
        self.assertEqual(self.places(), ("cursor4", "cursor4"))

    def test_an_end_before_all_have_caught_up(self) -> None:
        """One has caught up, and the other has not even been confirmed: it stays where it was."""
        self.follow(
            frame(0x20, topic="log.a", content=1), frame(0x10, topic="log.*"), frame(0x10, topic="log.a")
        )
        self.assertEqual(self.places(), ("cursor1", "cursor1"))
        self.device.connectionLost()
        self.device, self.wire = self.connect()
        self.cursors.on_connect()
        self.follow(AUTH, frame(0x20, topic="log.a", content=2), frame(0x10, topic="log.*", after="cursor1"))
        self.assertEqual(self.places(), ("cursor2", "cursor1"))

    def test_which_patterns_a_delivery_is_for(self) -> None:
        """Of two that cover its topic, one that still catches up will be sent its own copy."""
        publish = frame(0x20, topic="log.a", content=1, id=1)
        self.follow(publish, publish, frame(0x10, topic="log.*"))
        self.house.log.slow = True
        self.say(frame(0x10, topic="log.a", after="cursor1"))
        self.house.log.release()
        self.follow()
        found = []
        for more in ({}, {"replay": "log.a"}, {"patterns": ["log.*", "log.a"]}):
            found.append(self.cursors.patterns({"type": "message", "topic": "log.a", **more}))
        self.assertEqual(found, [["log.*"], ["log.a"], ["log.*", "log.a"]])

    def test_which_topics_a_pattern_covers(self) -> None:
        words = ("a", "b", "*", "**")
        patterns = [".".join(each) for size in (1, 2, 3) for each in product(words, repeat=size)]
        topics = [".".join(each) for size in (1, 2, 3, 4) for each in product("ab", repeat=size)]
        for pattern, topic in product(patterns, topics):
            expected = matches(pattern.split("."), topic.split("."))
            self.assertEqual(self.covers(pattern, topic), expected, (pattern, topic))

    def test_an_acknowledgement_is_no_place_to_resume_from(self) -> None:
        self.follow(frame(0x20, topic="log.a", content=1, id=1))
        self.assertEqual(self.places(), (None, None))

    def test_what_could_not_be_recovered(self) -> None:
        self.follow(frame(0x20, topic="log.a", content=1), frame(0x10, topic="log.a", after="nonsense"))
        self.assertEqual(self.places(), (None, "cursor1"))

    def test_what_is_unsubscribed_is_forgotten(self) -> None:
        self.follow(frame(0x10, topic="log.a"), frame(0x11, topic="log.a"))
        self.assertEqual(self.cursors.to_store(), {"log.*": None})


class EdgeTests(LibraryCase):
    def test_after_on_a_live_topic_is_ignored(self) -> None:
        ((_, said),) = self.say(frame(0x10, topic="t", after="cursor0"))
        self.assertEqual((said["retention"], "recovered" in said, "cursor" in said), ("live", False, False))

    def test_odd_cursors(self) -> None:
        for number, after in enumerate(("", "garbage", "é", "cursor99")):
            ((_, said), *_) = self.say(frame(0x10, topic=f"log.{number}", after=after))
            self.assertIs(said["recovered"], False, after)
        ((_, said),) = self.say(frame(0x10, topic="log.null", after=None))
        self.assertNotIn("recovered", said)
        for number in (0, False, []):
            ((kind, said),) = self.say(frame(0x10, topic="log.x", after=number))
            self.assertEqual((kind, said["code"]), (0xFF, "2"))

    def test_ids(self) -> None:
        for id in (0, -7, 1.5, 2**64, -(2**64), 1e300, "", "x" * 255):
            ((_, said),) = self.say(frame(0x11, topic="t", id=id))
            self.assertEqual(said["id"], id)
        for id in (True, [], {}, "x" * 256):
            ((kind, said),) = self.say(frame(0x11, topic="t", id=id))
            self.assertEqual((kind, said["code"], "id" in said), (0xFF, "2", False))

    def test_a_live_acknowledgement_needs_no_subscriber(self) -> None:
        self.assertEqual(self.say(frame(0x20, topic="t", content=1, id=1)), [(0x22, {"id": 1})])

    def test_a_refused_second_login_leaves_everything_as_it_was(self) -> None:
        refused = self.say(frame(0x01, token="nonsense"), frame(0x01, token="token-bob"))
        self.assertEqual([kind for kind, _ in refused], [0x03, 0x03])
        self.assertEqual(self.say(frame(0x10, topic="t"), PING), [subscribed("t", "id2"), pong()])

    def test_a_credential_is_warned_of_and_extended_by_another(self) -> None:
        grants = (Grant("room.**", {SUBSCRIBE}),)
        for name, until in (("short", 1000.0), ("endless", float("inf"))):
            identity = Identity("ann", name, until, name, grants, deadline=until)
            self.house.authenticator.identities[name] = identity
        self.device, self.wire = self.connect()
        self.assertEqual(self.say(frame(0x01, token="token-short")), [WELCOME])
        self.assertEqual(self.live_on(939), [])
        self.assertEqual(self.live_on(1), [(0x04, {"expiresAt": "1970-01-01T00:16:40.000Z"})])
        self.assertEqual(self.say(frame(0x01, token="token-endless")), [WELCOME])
        self.assertEqual(self.live_on(1000), [])

    def live_on(self, seconds: int) -> list[tuple[int, Any]]:
        """All that comes meanwhile but pings and their answers."""
        said = []
        for _ in range(seconds):
            said += self.say(PING)
            self.clock.advance(1.0)
        return [each for each in said + self.wire.said() if each[0] not in (0x30, 0x31)]

    def test_the_largest_delivery(self) -> None:
        """Of what may be published, on the longest topic, by its longest patterns, all that may be named."""
        self.device, self.wire = self.connect()
        self.device._max_frame_size = 2**21
        self.say(frame(0x01, token="token-ann"))
        words = ["é" * 7] * 15 + ["e" * 30]
        topic = ".".join(words)
        self.assertEqual(len(topic.encode()), 255)
        named = [".".join(words[:n] + ["*"] + words[n + 1 :]) for n in range(16)]
        named += [".".join(words[:n] + ["*", "*"] + words[n + 2 :]) for n in range(15)]
        for number, pattern in enumerate(named):
            self.say(frame(0x10, topic=pattern, id=number))
        content, metadata = "x" * 999_998, {"m": "y" * 9_991}
        ((kind, said),) = self.say(frame(0x20, topic=topic, content=content, metadata=metadata))
        self.assertEqual((kind, len(said["patterns"])), (0x21, len(named)))
        fixed = len(json.dumps({**said, "patterns": []}, ensure_ascii=False, separators=(",", ":")).encode())
        self.assertLess(1 + fixed + 35_000, 2**20)
