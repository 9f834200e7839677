"""Who may read and write which topic."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.core import policy
from multiproto.core.errors import Forbidden
from multiproto.core.ports import Identity

ANN = Identity("ann", "s", 0.0)


class PolicyTests(SynchronousTestCase):
    def test_reading(self) -> None:
        """Fault 12: a direct message is for its two people only."""
        for topic, readable in [
            ("users", True),
            ("users.bob", True),
            ("messages", True),
            ("messages.channel.c", True),
            ("messages.user.ann", True),
            ("messages.user.bob", False),
            ("messages.user", False),
            ("messages.user.bob.ann", False),
            ("messages.users.bob", True),
            ("messages.username", True),
            ("room.1", True),
            ("_sessions", False),
            ("_", False),
        ]:
            self.assertEqual(policy.may_read(ANN, topic), readable, topic)

    def test_subscribing(self) -> None:
        """Refused only where no topic that the pattern covers could ever be read."""
        for pattern in ("**", "*", "messages.**", "messages.user.ann", "messages.user.*", "messages.user.**"):
            policy.check_subscribe(ANN, pattern)
        for pattern in ("*.user.bob", "messages.*.bob", "users.bob", "**.bob"):
            policy.check_subscribe(ANN, pattern)
        for pattern in (
            "messages.user.bob",
            "messages.user.bob.**",
            "messages.user",
            "_sessions",
            "_.*",
            "_a.**",
        ):
            self.assertRaises(Forbidden, policy.check_subscribe, ANN, pattern)

    def test_writing(self) -> None:
        """Fault 12: nobody forges the server's events."""
        for topic in ("room.1", "user", "usersx", "x.users", "messages2"):
            policy.check_publish(ANN, topic)
        for topic in (
            "users",
            "users.ann",
            "messages",
            "messages.user.ann",
            "messages.channel.c",
            "_sessions",
        ):
            self.assertRaises(Forbidden, policy.check_publish, ANN, topic)
