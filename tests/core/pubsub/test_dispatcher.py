"""From a happening to its hearers, on both lanes."""

from __future__ import annotations

from attrs import Factory, define
from twisted.trial.unittest import SynchronousTestCase

from multiproto.base import strict_json
from multiproto.base.timestamps import format_timestamp
from multiproto.core.events import EventBuilder
from multiproto.core.model import Message, User
from multiproto.core.ports import DeliveryBatchListener
from multiproto.core.protocol import MAX_BATCH_BYTES, Delivery, DeliveryBatch
from multiproto.core.pubsub.dispatcher import Dispatcher
from multiproto.core.pubsub.namespaces import MESSAGES
from multiproto.core.transactions import Entry, Event, Publication

from ...fakes import sequential_ids

AT = format_timestamp(0)


@define(eq=False)
class Ear:
    """Hears all but `deaf_to`; `broken` raises."""

    deaf_to: tuple[str, ...] = ()
    broken: bool = False
    heard: list[Delivery] = Factory(list)

    def deliver(self, delivery: Delivery) -> bool:
        if self.broken:
            raise ZeroDivisionError
        if delivery.topic in self.deaf_to:
            return False
        self.heard.append(delivery)
        return True


@define(eq=False)
class Client(Ear, DeliveryBatchListener):
    """As a connection: with any number of patterns."""

    uses_extensions: bool = False

    def may_read(self, delivery: Delivery) -> bool:
        return delivery.topic not in self.deaf_to

    def deliver_batch(self, batch: DeliveryBatch) -> bool | None:
        return None


class AudienceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.counted: list[tuple[str, int, int]] = []  # type, heard, failed
        self.dispatcher = Dispatcher(lambda *counts: self.counted.append(counts))
        self.events = EventBuilder(sequential_ids("event"))

    def message(self, channel: str | None, recipient: str | None) -> Message:
        return Message("m", "ann", "hi", channel, recipient, AT, AT)

    def tell(self, event: Event, position: int = 1) -> None:
        self.dispatcher.dispatch_logged(Entry(position, f"cursor{position}", event))

    def listen(self, *patterns: str, ear: Ear | None = None) -> Ear:
        ear = ear or Ear()
        for pattern in patterns:
            self.dispatcher.subscribe(pattern, ear)
        return ear

    def test_a_publication(self) -> None:
        ear, other = self.listen("a.*", "a.**"), self.listen("b")
        self.dispatcher.dispatch_live(Publication("p", "a.b", {"x": 1}, {"senderId": "ann"}, "ann", 5.0))
        self.assertEqual(ear.heard, [Delivery("a.b", {"x": 1}, {"senderId": "ann"}, 5.0, "ann", "p")])
        self.assertEqual(other.heard, [])
        self.assertEqual(self.counted, [("publication", 1, 0)])

    def test_an_event_is_heard_once_on_the_first_topic_covered(self) -> None:
        """The predecessor's fault: one event on three topics was delivered to `messages.**` three times.

        docs/predecessor-faults.md#fault-19
        """
        event = self.events.message_sent(self.message("c.9", None))
        self.assertEqual(event.topics, ("messages", "messages.user.ann", "messages.channel.c%2E9"))
        wide, author, channel = (
            self.listen("messages.**"),
            self.listen("messages.user.ann", "messages.channel.*"),
            self.listen("messages.channel.c%2E9"),
        )
        self.tell(event)
        shown = {"eventType": "message.sent", "eventId": "event1", "timestamp": AT}
        for ear, topic in [(wide, event.topics[0]), (author, event.topics[1]), (channel, event.topics[2])]:
            self.assertEqual(
                ear.heard, [Delivery(topic, event.content, shown, 0.0, id="event1", cursor="cursor1")]
            )
        self.assertEqual(self.counted, [("message.sent", 3, 0)])

    def test_a_connection_of_several_patterns(self) -> None:
        """One delivery that names them, on the first topic; or one for each, on the first that it covers."""
        event = self.events.message_sent(self.message("c", None))
        several = ("messages", "messages.channel.*", "messages.**")
        new, old = Client(uses_extensions=True), Client()
        for client in (new, old):
            self.listen(*several, ear=client)
        self.tell(event)
        self.assertEqual(
            [(each.topic, each.patterns) for each in new.heard],
            [("messages", ("messages", "messages.**", "messages.channel.*"))],
        )
        self.assertEqual(
            [(each.topic, each.patterns) for each in old.heard],
            [("messages", ()), ("messages", ()), ("messages.channel.c", ())],
        )
        self.assertEqual(self.counted, [("message.sent", 2, 0)])

    def test_only_patterns_with_a_readable_topic_are_named(self) -> None:
        """A direct message to bob, of which he may not know that it is on ann's topic, too."""
        event = self.events.message_sent(self.message(None, "bob"))
        deaf_to = ("messages.user.ann",)
        for uses_extensions in (True, False):
            bob = Client(deaf_to, uses_extensions=uses_extensions)
            self.listen("messages.user.*", "messages.user.ann", ear=bob)
            self.tell(event)
            self.assertEqual([(each.topic, each.patterns) for each in bob.heard], [("messages.user.bob", ())])
        nobody = Client(event.topics, uses_extensions=True)
        self.listen("messages.user.*", "messages.**", ear=nobody)
        self.tell(event)
        self.assertEqual(nobody.heard, [])
        self.assertEqual([heard for _, heard, _ in self.counted], [1, 2, 2])

    def test_those_of_the_same_patterns_share_one_delivery(self) -> None:
        """So each wire encodes it once, on both lanes."""
        clients = [Client(uses_extensions=True) for _ in range(3)]
        for client in clients:
            self.listen("a.*", "a.b", ear=client)
        self.dispatcher.dispatch_live(Publication("p", "a.b", 1, {}, "ann", 0.0))
        self.tell(Event("e", "publication", ("a.b",), None, "m", AT, MESSAGES))
        for number in range(2):
            self.assertEqual(len({id(client.heard[number]) for client in clients}), 1)
            self.assertEqual(clients[0].heard[number].patterns, ("a.b", "a.*"))

    def test_batches_are_shared_in_the_same_way(self) -> None:
        batches: list[DeliveryBatch] = []

        class BatchClient(Client):
            def deliver_batch(self, batch: DeliveryBatch) -> bool | None:
                batches.append(batch)
                return True

        for uses_extensions in (True, True, False, False):
            self.listen("a.*", "a.b", ear=BatchClient(uses_extensions=uses_extensions))
        publications = [Publication("p", "a.b", number, {}, "ann", 0.0) for number in range(2)]
        self.assertEqual(self.dispatcher.dispatch_batch(publications), 0)
        self.assertEqual(len({id(batch) for batch in batches}), 2)
        said = [[(each.content, each.patterns) for each in batch.deliveries] for batch in batches[::2]]
        both = ("a.b", "a.*")
        self.assertEqual(said, [[(0, both), (1, both)], [(0, ()), (0, ()), (1, ()), (1, ())]])

    def test_all_copies_of_a_logged_event_are_written_at_once_and_made_once(self) -> None:
        """For all connections of the same patterns; of long ones, as many at once as one write may have."""
        batches: list[DeliveryBatch] = []

        class BatchClient(Client):
            def deliver_batch(self, batch: DeliveryBatch) -> bool | None:
                batches.append(batch)
                return True

        words = [(first, second, third) for first in "a*" for second in "b*" for third in "c*"]
        for _ in range(2):
            self.listen(*map(".".join, words), ear=BatchClient())
        for number, (length, sizes) in enumerate(
            [(100, [8]), (9_000, [6, 2]), (MAX_BATCH_BYTES, [1] * 8)], 1
        ):
            content = strict_json.dumps("x" * length)
            told = Event("e", "message", ("a.b.c",), "x", "", AT, MESSAGES, "ann", {}, content)
            self.tell(told, number)
            ours, theirs = batches[: len(sizes)], batches[len(sizes) :]
            self.assertEqual([len(batch.deliveries) for batch in ours], sizes)
            self.assertEqual(list(map(id, ours)), list(map(id, theirs)))
            batches.clear()

    def test_copies_that_cannot_be_written_at_once_come_one_by_one(self) -> None:
        client = Client()  # which never can
        self.listen("a.*", "a.b", ear=client)
        self.tell(Event("e", "message", ("a.b",), "x", "", AT, MESSAGES, "ann", {}))
        self.assertEqual([(each.topic, each.content) for each in client.heard], [("a.b", "x")] * 2)

    def test_what_a_connection_may_read_is_asked_once_for_each_topic(self) -> None:
        """Not for each pattern: they may be a hundred, of each of a thousand connections."""
        asked: list[str] = []

        class Asked(Client):
            def may_read(self, delivery: Delivery) -> bool:
                asked.append(delivery.topic)
                return True

        patterns = ("a.*", "a.**", "*.b", "**", "a.b", "c", "*")
        for uses_extensions in (True, False):
            client = Asked(uses_extensions=uses_extensions)
            self.listen(*patterns, ear=client)
            self.tell(Event("e", "publication", ("a.b", "c"), None, "m", AT, MESSAGES))
            self.assertEqual(asked, ["a.b", "c"])
            asked.clear()
            for pattern in patterns:
                self.dispatcher.unsubscribe(pattern, client)
            self.assertEqual(len(client.heard), 1 if uses_extensions else len(patterns))

    def test_an_unreadable_topic_gives_way_to_the_next(self) -> None:
        ear = self.listen("messages.**", ear=Ear(deaf_to=("messages", "messages.user.ann")))
        self.tell(self.events.message_sent(self.message("c", None)))
        self.assertEqual([delivery.topic for delivery in ear.heard], ["messages.channel.c"])

    def test_a_direct_message_is_told_to_its_two_people_only(self) -> None:
        """Also when it names a channel; and once when it is for oneself."""
        for channel in (None, "c"):
            event = self.events.message_sent(self.message(channel, "bob"))
            self.assertEqual(event.topics, ("messages.user.ann", "messages.user.bob"))
            withdrawn = self.events.message_deleted(self.message(channel, "bob"), AT)
            self.assertEqual(withdrawn.topics, event.topics)
        event = self.events.message_sent(self.message(None, "ann"))
        self.assertEqual(event.topics, ("messages.user.ann",))

    def test_what_was_blanked_is_not_told(self) -> None:
        """But the cursor moves past it."""
        ear = self.listen("**")
        event = Event("e", "message.sent", ("messages",), None, "m", AT, MESSAGES)
        self.dispatcher.dispatch_logged(Entry(7, "cursor7", event, redacted=True))
        self.assertEqual(ear.heard, [])
        self.assertEqual(self.dispatcher.cursor, "cursor7")

    def test_a_broken_listener_costs_nobody_else_the_message(self) -> None:
        """The predecessor's fault: one bad subscription broke pub/sub for everybody.

        docs/predecessor-faults.md#fault-2
        """
        self.listen("a", ear=Ear(broken=True))
        ear = self.listen("a")
        self.dispatcher.dispatch_live(Publication("p", "a", 1, {}, "ann", 0.0))
        self.assertEqual(len(ear.heard), 1)
        self.assertEqual(self.counted, [("publication", 1, 1)])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_leaving(self) -> None:
        ear = self.listen("a.*")
        self.dispatcher.unsubscribe("a.*", ear)
        self.assertTrue(self.dispatcher.is_empty)

    def test_no_event_tells_a_secret(self) -> None:
        """The predecessor's fault: password hashes went out on `users`.

        docs/predecessor-faults.md#fault-11
        """
        user = User("u", "u@example.org", "Una", AT, AT)
        for event in (self.events.user_created(user), self.events.user_updated(user)):
            self.assertEqual(event.content, {"user": user.to_json()})
            self.assertEqual(set(user.to_json()), {"id", "email", "name", "createdAt", "updatedAt"})
        self.assertEqual(self.events.user_deleted("u", AT).content, {"userId": "u"})
        self.assertEqual(
            [e.type for e in (self.events.user_created(user), self.events.user_updated(user))],
            ["user.created", "user.updated"],
        )
