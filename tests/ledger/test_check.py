"""The checker is shown to fail: each way in which a server could break its promises is found and named."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from . import log
from .check import Listing, check
from .health import HEALED_WITHIN
from .histories import Parting
from .log import Log
from .records import (
    DELIVER,
    FAILED,
    INVOKED,
    OK,
    REVOKE,
    SEND,
    SUBSCRIBE,
    UNKNOWN,
    UNSUBSCRIBE,
    Record,
    fingerprint,
)
from .report import Fault, Report
from .rights import covers, heard_on, may_read

ANN, BOB, EVE = "ann", "bob", "eve"
MOST = 400  # messages in a history
PROTOCOLS = ("websocket", "tcp", "rest", "graphql")


def cursor(position: int) -> str:
    return f"term.{position}"


class History:
    """What a server that keeps its promises leaves behind: ann sends, every fifth time to bob alone; all listen."""

    def __init__(self, messages: int = MOST) -> None:
        self.entries: list[log.Entry] = []
        self.records: list[Record] = []
        self.partings: list[Parting] = []
        self.prunable_from: dict[str, int] = {}  # by what was sent
        for n in range(1, messages + 1):
            self._send(n)
        for protocol in PROTOCOLS:
            for user in (ANN, BOB, EVE):
                self._follow(protocol, user)

    def _send(self, n: int) -> None:
        direct = n % 5 == 0
        target = {"recipientId": BOB} if direct else {"channelId": "c"}
        also = ("messages.user.bob",) if direct else ("messages.channel.c",)
        topics = (*(() if direct else ("messages",)), "messages.user.ann", *also)
        content = {"message": {"id": f"m{n}", "userId": ANN, "content": f"text {n}", **target}}
        self.entries.append(log.entry(n, cursor(n), f"e{n}", "message.sent", topics, content))
        sent = Record(n, "sender", "rest", SEND, str(n), topics[-1], fingerprint(f"text {n}"), INVOKED)
        self.records += sent, evolve(sent, time=n + 0.5, state=OK, cursor=cursor(n))

    def _follow(self, protocol: str, user: str) -> None:
        """All of `messages.**`, on a connection that is lost half-way and resumed."""
        line = Record(
            0.0, f"{protocol}-{user}", protocol, SUBSCRIBE, "s", "messages.**", "", INVOKED, None, user
        )
        half = len(self.entries) // 2
        self.records += line, evolve(line, state=OK, cursor=cursor(0))
        self._deliver(line, self.entries[:half])
        self.records += (
            evolve(line, cursor=cursor(half)),
            evolve(line, state=OK, cursor=cursor(half), recovered=True),
        )
        self._deliver(line, self.entries[half:])

    def _deliver(self, line: Record, entries: list[log.Entry]) -> None:
        for entry in entries:
            topic = heard_on(line.user, line.topic, entry.topics)
            if topic is not None:
                self.records.append(self.delivery(line, entry, topic))

    def delivery(self, line: Record, entry: log.Entry, topic: str) -> Record:
        when = entry.position + 0.6
        return evolve(
            line, op=DELIVER, state=OK, time=when, topic=topic, hash=entry.hash, cursor=entry.cursor
        )

    def at(self, client: str, op: str, nth: int, state: str = OK) -> int:
        """Where in `records` the `nth` such record is."""
        found = [
            i
            for i, each in enumerate(self.records)
            if (each.client, each.op, each.state) == (client, op, state)
        ]
        return found[nth]

    def change(self, index: int, **changes: Any) -> None:
        self.records[index] = evolve(self.records[index], **changes)

    def check(self, must_recover: bool = False, one_retry: bool = False) -> Report:
        return check(
            self.records,
            Log(self.entries, 0, cursor(0), prunable_from=self.prunable_from),
            (),
            must_recover,
            one_retry,
            self.partings,
        )


class HistoryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.history = History()

    def finds(self, *faults: Fault, **demands: bool) -> Report:
        """Exactly `faults` are found in the history, each once."""
        report = self.history.check(**demands)
        self.assertEqual(dict(report.faults), dict.fromkeys(faults, 1), str(report))
        self.assertEqual((report.clean, report.status), (not faults, int(bool(faults))))
        for fault in faults:
            self.assertIn(f"FAULT {fault.value}: 1", str(report))
        return report


class CleanTests(HistoryCase):
    def test_clean(self) -> None:
        report = self.finds()
        self.assertEqual(report.figures["sends ok rest"], MOST)
        self.assertEqual(report.figures["delivered tcp"], 2 * MOST + MOST * 4 // 5)
        self.assertEqual((report.figures["connects tcp"], report.figures["resumes recovered"]), (6, 12))
        self.assertTrue(str(report).endswith("clean"))


class SendTests(HistoryCase):
    """Acknowledged, refused and unknown (docs/guarantees.md#g1-durable-acknowledgement)."""

    def test_acknowledged_before_the_commit(self) -> None:
        """The last message was acknowledged, then the process was killed before it was on the disk."""
        history = self.history
        history.records = [
            each for each in history.records if each.op != DELIVER or each.cursor != cursor(MOST)
        ]
        del history.entries[-1]
        self.finds(Fault.LOST)

    def test_a_row_twice(self) -> None:
        """An unknown send was repeated under its key, and both were kept."""
        extra = evolve(
            self.history.entries[-1], position=MOST + 1, cursor=cursor(MOST + 1), id="again", topics=("_",)
        )
        self.history.entries.append(extra)
        self.finds(Fault.TWICE)

    def test_unknown(self) -> None:
        """May be there once or not at all."""
        index = self.history.at("sender", SEND, 7)
        self.history.change(index, state=UNKNOWN, cursor=None)
        lost = Record(3.0, "sender", "rest", SEND, "lost", "messages", fingerprint("lost"), INVOKED)
        self.history.records.append(lost)
        self.assertEqual(self.finds().figures["sends unknown rest"], 2)

    def test_refused_but_kept(self) -> None:
        index = self.history.at("sender", SEND, 7)
        self.history.change(index, state=FAILED, cursor=None)
        self.finds(Fault.KEPT)

    def test_refused_after_a_doubtful_attempt(self) -> None:
        """The first attempt may have worked."""
        index = self.history.at("sender", SEND, 7)
        again = self.history.records[index - 1]
        self.history.change(index, state=UNKNOWN, cursor=None)
        self.history.records[index + 1 : index + 1] = [again, evolve(again, state=FAILED)]
        self.finds()

    def test_killed_in_the_second_attempt(self) -> None:
        """It was refused once, and then its client did not live to see an answer."""
        index = self.history.at("sender", SEND, 7)
        self.history.change(index, state=FAILED, cursor=None)
        self.history.records.insert(index + 1, self.history.records[index - 1])
        self.finds()

    def test_repeated(self) -> None:
        """Once is as it may be, twice is a fault where once has to do."""
        index = self.history.at("sender", SEND, 7)
        again = self.history.records[index - 1]
        refused = [again, evolve(again, state=FAILED)]
        self.history.records[index - 1 : index - 1] = refused
        report = self.finds(one_retry=True)
        self.assertEqual((report.figures["sends repeated"], report.figures["sends repeated again"]), (1, 0))
        self.history.records[index - 1 : index - 1] = refused
        self.assertEqual(self.finds(Fault.AGAIN, one_retry=True).figures["sends repeated again"], 1)
        self.finds()

    def test_what_nobody_sent(self) -> None:
        records = self.history.records
        self.history.records = [each for each in records if each.op != SEND or each.key != "9"]
        self.finds(Fault.UNSENT)

    def test_a_cursor_of_another(self) -> None:
        self.history.change(self.history.at("sender", SEND, 7), cursor=cursor(7))
        self.finds(Fault.WRONG_CURSOR)

    def test_a_later_cursor_once_it_may_be_pruned(self) -> None:
        index = self.history.at("sender", SEND, 7)
        self.history.prunable_from = {self.history.records[index].hash: 60}
        self.history.change(index, cursor=cursor(60), time=60.7)
        self.finds()
        self.history.change(index, cursor=cursor(59))
        self.finds(Fault.WRONG_CURSOR)
        self.history.prunable_from = {}
        self.history.change(index, cursor=cursor(60))
        self.finds(Fault.WRONG_CURSOR)

    def test_logged_before_what_was_acknowledged_earlier(self) -> None:
        """Two messages swapped in the log itself, and so for all."""
        later = self.history.at("sender", SEND, 8, INVOKED)
        self.history.change(later, time=12.0)
        self.history.change(later + 1, time=12.1)
        self.finds(Fault.LATER)

    def test_a_hole(self) -> None:
        self.history.entries = [
            each if each.position < MOST else evolve(each, position=MOST + 1) for each in self.history.entries
        ]
        self.finds(Fault.HOLE)

    def test_withdrawn(self) -> None:
        """What is blank need not be delivered; who heard it before, heard what it was."""
        history = self.history
        history.entries[7] = evolve(history.entries[7], hash=fingerprint(None), payload=None, blank=True)
        del history.records[history.at("tcp-eve", DELIVER, 6)]  # position 5 is not hers
        self.finds()

    def test_lists(self) -> None:
        """A list holds what the log holds of what its reader may see."""
        entries = self.history.entries
        public = [str(entry.payload) for entry in entries if entry.topics[0] == "messages"]
        fitting = [
            Listing(ANN, MOST, [str(entry.payload) for entry in entries]),
            Listing(EVE, len(public), public),
        ]
        there = Log(entries)
        self.assertNotIn(Fault.LISTED, check(self.history.records, there, fitting).faults)
        for wrong in (
            Listing(EVE, MOST, public),
            Listing(EVE, len(public), [*public, public[0]]),
            Listing(EVE, len(public), [str(entries[4].payload)]),
        ):
            self.assertEqual(check(self.history.records, there, [wrong]).faults[Fault.LISTED], 1)


class DeliveryTests(HistoryCase):
    """Order, gaps, duplicates, rights (docs/guarantees.md#g2-one-order and those that follow)."""

    def test_one_of_ten_thousand_dropped(self) -> None:
        self.history = History(12_500 // 12)
        deliveries = [i for i, each in enumerate(self.history.records) if each.op == DELIVER]
        self.assertGreater(len(deliveries), 10_000)
        del self.history.records[deliveries[5_000]]
        self.finds(Fault.MISSING)

    def test_the_last_one_dropped(self) -> None:
        del self.history.records[self.history.at("tcp-ann", DELIVER, -1)]
        self.finds(Fault.MISSING)

    def test_the_first_one_after_resuming_dropped(self) -> None:
        del self.history.records[self.history.at("graphql-ann", DELIVER, MOST // 2)]
        self.finds(Fault.MISSING)

    def test_two_swapped(self) -> None:
        first = self.history.at("rest-ann", DELIVER, 20)
        records = self.history.records
        records[first], records[first + 1] = records[first + 1], records[first]
        self.finds(Fault.SWAPPED)

    def test_a_duplicate(self) -> None:
        """At least once on the wire: the same delivery again, with its cursor."""
        index = self.history.at("rest-ann", DELIVER, 20)
        self.history.records.insert(index + 5, self.history.records[index])
        self.assertEqual(self.finds().figures["duplicates"], 1)

    def test_a_duplicate_with_another_cursor(self) -> None:
        for other in (cursor(9), "term.x"):
            self.history = History()
            index = self.history.at("rest-ann", DELIVER, 20)
            self.history.records.insert(index + 1, evolve(self.history.records[index], cursor=other))
            self.finds(Fault.RENAMED)

    def test_delivered_before_the_commit(self) -> None:
        index = self.history.at("tcp-bob", DELIVER, -1)
        early = evolve(self.history.records[index], hash=fingerprint("early"), cursor=cursor(MOST + 1))
        self.history.records.insert(index + 1, early)
        self.finds(Fault.PHANTOM)

    def test_altered(self) -> None:
        index = self.history.at("tcp-bob", DELIVER, 3)
        self.history.records.insert(index + 1, evolve(self.history.records[index], hash=fingerprint("other")))
        self.finds(Fault.ALTERED)

    def test_authorization_skipped_on_one_protocol(self) -> None:
        """A direct message between two others."""
        index = self.history.at("graphql-eve", DELIVER, 3)
        direct = self.history.entries[4]
        line = self.history.records[index]
        self.history.records.insert(index + 1, self.history.delivery(line, direct, "messages.user.ann"))
        self.finds(Fault.TRESPASS)

    def test_a_topic_of_someone_else(self) -> None:
        """What one may read, but named by a topic that one may not."""
        index = self.history.at("tcp-ann", DELIVER, 3)
        twice = evolve(self.history.records[index], topic="messages.user.bob")
        self.history.records.insert(index + 1, twice)
        self.finds(Fault.UNASKED)

    def test_delivered_after_revocation(self) -> None:
        """More than a second after the logout was answered; what comes within it is well."""
        moment = float(MOST - 1)
        gone = Record(moment, "driver", "rest", REVOKE, "", "", "", OK, user=EVE)
        self.history.records.append(gone)
        only_tcp = [
            each for each in self.history.records if each.user != EVE or each.protocol in ("tcp", "rest")
        ]
        self.history.records = [each for each in only_tcp if each.client != "rest-eve"]
        self.finds()
        index = self.history.at("tcp-eve", DELIVER, -1)
        self.history.change(index, time=moment + 1.1)
        self.finds(Fault.LATE)

    def test_not_recovered(self) -> None:
        """Who is told so has a gap and knows it; a drill in which nobody should be can ask for that."""
        index = self.history.at("tcp-ann", SUBSCRIBE, 1)
        self.history.change(index, recovered=False, cursor=cursor(MOST // 2 + 3))
        del self.history.records[index + 1 : index + 4]
        self.finds()
        self.finds(Fault.UNRECOVERED, must_recover=True)

    def test_a_gap_that_was_not_told(self) -> None:
        index = self.history.at("tcp-ann", SUBSCRIBE, 1)
        del self.history.records[index + 1]
        self.finds(Fault.MISSING)

    def test_resumed_without_an_answer(self) -> None:
        self.history.change(self.history.at("tcp-ann", SUBSCRIBE, 1), recovered=None)
        self.finds(Fault.UNSAID)

    def test_recovered_from_nowhere(self) -> None:
        """A cursor of a history that a restored backup does not have."""
        self.history.change(self.history.at("tcp-ann", SUBSCRIBE, 1, INVOKED), cursor="other.1")
        self.finds(Fault.UNFOUNDED)

    def test_an_older_cursor(self) -> None:
        """Who resumes from further back hears all behind it again, and a hole in that is a hole."""
        index = self.history.at("tcp-ann", SUBSCRIBE, 1, INVOKED)
        self.history.change(index, cursor=cursor(MOST // 2 - 3))
        again = self.history.records[index - 3 : index]
        self.history.records[index + 2 : index + 2] = again
        self.assertEqual(self.finds().figures["duplicates"], 3)
        del self.history.records[index + 3]
        self.finds(Fault.MISSING)

    def test_without_a_word_for_subscribed(self) -> None:
        """GraphQL: the subscription stands where its first result stands."""
        self.history.change(self.history.at("graphql-ann", SUBSCRIBE, 0), cursor=None)
        self.history.change(self.history.at("graphql-ann", SUBSCRIBE, 1), cursor=None, recovered=False)
        self.finds()

    def test_never_subscribed(self) -> None:
        lonely = Record(0.0, "lonely", "tcp", SUBSCRIBE, "s", "messages", "", INVOKED, user=ANN)
        self.history.records.append(lonely)
        self.finds(Fault.DEAF)

    def test_left(self) -> None:
        """Nothing is due to one who unsubscribed."""
        index = self.history.at("tcp-ann", DELIVER, -1)
        self.history.change(index, op=UNSUBSCRIBE, cursor=None)
        self.finds()


class RightsTests(SynchronousTestCase):
    def test_covers(self) -> None:
        said = [
            ("**", "a.b", True),
            ("a.**", "a", True),
            ("a.**", "a.b.c", True),
            ("a.**", "ab", False),
            ("a.*", "a.b", True),
            ("a.*", "a", False),
            ("a.*", "a.b.c", False),
            ("**.c", "c", True),
            ("a.**.c", "a.b.c", True),
            ("a+", "aa", False),
        ]
        self.assertEqual([(pattern, topic, covers(pattern, topic)) for pattern, topic, _ in said], said)

    def test_may_read(self) -> None:
        topics = ("users", "messages", "messages.user.ann", "messages.user.bob", "messages.user", "_sessions")
        self.assertEqual(
            [each for each in topics if may_read(ANN, each)], ["users", "messages", "messages.user.ann"]
        )
        self.assertEqual(
            heard_on(BOB, "messages.user.*", ("messages.user.ann", "messages.user.bob")), "messages.user.bob"
        )


class Restored(History):
    """A backup is restored when 400 are in the log: the last 100 of them are gone, and 50 others come in their place.

    All have listened on one connection, which ends then, and are told on the next one.
    """

    KEPT, TAKEN, LATER = 300, 100, 50
    UNTIL = KEPT + TAKEN + 1.0  # when it was restored

    def __init__(self) -> None:
        super().__init__(self.KEPT + self.TAKEN)
        former = self.entries
        self.partings.append(Parting(Log(former, 0, cursor(0)), self.KEPT, self.UNTIL, takes_away=True))
        self.entries = former[: self.KEPT]
        for n in range(1, self.LATER + 1):
            self._send_later(n)
        for protocol in PROTOCOLS:
            for user in (ANN, BOB, EVE):
                self._resume_later(protocol, user)

    def _send_later(self, n: int) -> None:
        position, moment = self.KEPT + n, self.UNTIL + n
        content = {"message": {"id": f"l{n}", "userId": ANN, "content": f"later {n}", "channelId": "c"}}
        topics = ("messages", "messages.user.ann", "messages.channel.c")
        self.entries.append(
            log.entry(position, f"later.{position}", f"l{n}", "message.sent", topics, content)
        )
        sent = Record(moment, "sender", "rest", SEND, f"l{n}", topics[-1], fingerprint(f"later {n}"), INVOKED)
        self.records += sent, evolve(sent, time=moment + 0.5, state=OK, cursor=f"later.{position}")

    def _resume_later(self, protocol: str, user: str) -> None:
        line = Record(
            self.UNTIL, f"{protocol}-{user}", protocol, SUBSCRIBE, "s", "messages.**", "", INVOKED, None, user
        )
        self.records += (
            evolve(line, cursor=cursor(self.KEPT + self.TAKEN)),
            evolve(line, state=OK, cursor=cursor(self.KEPT), recovered=False),
        )
        for each in self.entries[self.KEPT :]:
            topic = heard_on(user, line.topic, each.topics)
            if topic is not None:
                self.records.append(
                    evolve(
                        self.delivery(line, each, topic), time=self.UNTIL + each.position - self.KEPT + 0.6
                    )
                )


class PartingTests(SynchronousTestCase):
    """The log goes back, and another history goes on (docs/guarantees.md#g3-no-silent-gap)."""

    def setUp(self) -> None:
        self.history = Restored()

    def finds(self, *faults: Fault) -> Report:
        report = self.history.check()
        self.assertEqual(dict(report.faults), dict.fromkeys(faults, 1), str(report))
        return report

    def part(self, **changes: Any) -> None:
        (parting,) = self.history.partings
        self.history.partings = [evolve(parting, **changes)]

    def test_all_were_told(self) -> None:
        figures = self.finds().figures
        self.assertEqual(figures["sends taken away"], Restored.TAKEN)
        self.assertEqual(figures["events taken away"], Restored.TAKEN)
        self.assertEqual(figures["resumes not recovered"], 12)

    def test_a_fault_that_may_take_nothing_away(self) -> None:
        """The standby was synchronous: what was acknowledged is there, or lost."""
        self.part(takes_away=False)
        self.assertEqual(dict(self.history.check().faults), {Fault.LOST: Restored.TAKEN})

    def test_acknowledged_by_a_history_that_has_ended(self) -> None:
        """Up to five seconds, an answer may be under way."""
        last = self.history.at("sender", SEND, Restored.KEPT + Restored.TAKEN - 1)
        self.history.change(last, time=Restored.UNTIL + HEALED_WITHIN)
        self.finds()
        self.history.change(last, time=Restored.UNTIL + HEALED_WITHIN + 0.1)
        self.finds(Fault.LOST)

    def test_more_is_gone_than_was_taken_away(self) -> None:
        """The backup had one more; nobody was told anything else of it."""
        self.part(kept=Restored.KEPT + 1)
        report = self.history.check()
        self.assertEqual(dict(report.faults), {Fault.GONE: 1, Fault.LOST: 1}, str(report))

    def test_a_cursor_of_both_histories(self) -> None:
        """No new term began: the name of what everybody has heard is now that of another."""
        there = self.history.entries[Restored.KEPT]
        name = cursor(there.position)
        self.history.entries[Restored.KEPT] = evolve(there, cursor=name)
        self.history.records = [
            evolve(each, cursor=name) if each.cursor == there.cursor else each
            for each in self.history.records
        ]
        self.finds(Fault.REUSED)

    def test_a_connection_that_went_on(self) -> None:
        """It has heard of what is gone, and goes on with what came in its place, and nobody said a word."""
        told = self.history.at("tcp-eve", SUBSCRIBE, 2, INVOKED)
        del self.history.records[told : told + 2]
        self.finds(Fault.UNTOLD)

    def test_a_connection_that_went_on_and_missed_nothing(self) -> None:
        """Nothing of what is gone has reached it."""
        history = self.history
        first = history.at("tcp-eve", DELIVER, Restored.KEPT * 4 // 5)
        told = history.at("tcp-eve", SUBSCRIBE, 2, INVOKED)
        del history.records[told : told + 2]
        del history.records[first : first + Restored.TAKEN * 4 // 5]
        self.finds()
        del history.records[history.at("tcp-eve", DELIVER, Restored.KEPT * 4 // 5)]
        self.finds(Fault.MISSING)

    def test_a_connection_to_which_nothing_came_any_more(self) -> None:
        told = self.history.at("tcp-eve", SUBSCRIBE, 2, INVOKED)
        del self.history.records[told : told + 2 + Restored.LATER]
        self.finds(Fault.UNTOLD)

    def test_told_that_nothing_was_missed(self) -> None:
        """Recovered from the cursor of something that is gone: a lie once the fault is over, and untold in any case."""
        told = self.history.at("tcp-eve", SUBSCRIBE, 2)
        self.history.change(told, recovered=True)
        self.finds(Fault.UNTOLD)
        self.history.change(told, time=Restored.UNTIL + HEALED_WITHIN + 0.1)
        report = self.history.check()
        self.assertEqual(dict(report.faults), {Fault.UNFOUNDED: 1, Fault.UNTOLD: 1}, str(report))

    def test_replayed_although_it_is_gone(self) -> None:
        """From memory, to one who resumed from an event that is still there."""
        last = self.history.at("tcp-eve", DELIVER, Restored.KEPT * 4 // 5 + Restored.TAKEN * 4 // 5 - 1)
        self.history.change(last, time=Restored.UNTIL + HEALED_WITHIN + 0.1)
        self.finds(Fault.VANISHED)

    def test_one_of_those_that_are_gone_was_not_delivered(self) -> None:
        """Though those around it were."""
        del self.history.records[self.history.at("tcp-eve", DELIVER, Restored.KEPT * 4 // 5 + 10)]
        self.finds(Fault.MISSING)

    def test_missing_after_it_was_told(self) -> None:
        del self.history.records[self.history.at("tcp-eve", DELIVER, -10)]
        self.finds(Fault.MISSING)
