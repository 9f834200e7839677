"""Which topics have events."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.events import has_events
from multiproto.core.pubsub.topics import escape_word, is_escaped

USER = "6c84fb90-12c4-11e1-840d-7b25c5ee775a"


class HasEventsTests(SynchronousTestCase):
    def test_what_may_be_heard(self) -> None:
        for pattern in (
            *("users", "users.*", "users.**", f"users.{USER}", f"users.**.{USER}", "users.**.**"),
            *("messages", "messages.*.x", "messages.*.*", "messages.**", "messages.user.*"),
            *("messages.user.ann", "messages.channel.*", "messages.channel.**", "messages.channel.a"),
            *("messages.channel.a%2Eb", "messages.channel.café", "messages.channel.%25", "messages.**.a"),
            *("**", "*", "*.channel.a.b", "room.1", "room.messages.channel.a.b"),
        ):
            self.assertTrue(has_events(pattern), pattern)

    def test_what_never_is(self) -> None:
        """A client that subscribes to it waits for ever, and should be told why."""
        for pattern in (
            *("users.bob", f"users.{USER.upper()}", "users.*.x", "users.**.bob", f"users.{USER}.x"),
            *("messages.channel.a.b", "messages.channel", "messages.user", "messages.*", "messages.*.*.*"),
            *("messages.chanel.a", "messages.**.a.b", "messages.channel.*.*"),
            *("messages.channel.a%2eb", "messages.channel.%41", "messages.channel.%", "messages.channel.%FF"),
        ):
            self.assertFalse(has_events(pattern), pattern)

    def test_every_channel_is_one_word_and_told_from_words_that_are_none(self) -> None:
        for channel in ("a.b", "50%", "a b", "*", "é.", "\u00a0", "%2E", "\ufffd", "\x00"):
            self.assertTrue(is_escaped(escape_word(channel)), ascii(channel))
            self.assertTrue(has_events(f"messages.channel.{escape_word(channel)}"))
