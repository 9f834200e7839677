"""Messages on the real store: who sees which, in every operation."""

from __future__ import annotations

from typing import Any, Awaitable, Callable

from twisted.internet import reactor

from multiproto.base.uuid7 import Uuid7Generator
from multiproto.core.domain.messages import Messages
from multiproto.core.errors import Forbidden, NotFound, Unauthorized, ValidationError
from multiproto.core.identity import Identity
from multiproto.core.model import Message, PageOf
from multiproto.core.pubsub.permissions import PUBLISH, VERBS, Rule
from multiproto.core.pubsub.policy import Policy
from tests.canary import PASSWORD

from ...fakes import PlainPasswords, make_account_services
from ...stores import StoreCase
from .test_accounts import PROOF, NamingTokens


class MessagesCase(StoreCase):
    async def asyncSetUp(self) -> None:
        self.messages = Messages(self.store, self.sends, self.events, Policy(), self.now, self.new_id)
        self.accounts = make_account_services(
            self.store, PlainPasswords(), NamingTokens(), reactor, self.now, self.new_id
        ).accounts
        self.ann, self.bob, self.eve = [await self.person(name) for name in ("ann", "bob", "eve")]

    async def person(self, name: str) -> Identity:
        fields = {"email": f"{name}@example.org", "name": name, "password": PASSWORD}
        return Identity((await self.accounts.register(fields)).value.id, "s", 1e12)

    async def send(
        self, who: Identity, content: str, to: Identity | None = None, channel: str | None = None
    ) -> Message:
        fields = {"content": content, "channelId": channel, "recipientId": to.user_id if to else None}
        return (await self.messages.send(who, fields)).value

    async def contents(self, who: Identity, **fields: object) -> list[str]:
        page = await self.messages.page(who, fields)
        self.assertEqual(page.total, len(page.items))
        return [message.content for message in page.items]


class SendingTests(MessagesCase):
    async def test_the_row_and_its_event(self) -> None:
        message = await self.send(self.ann, "hi", channel="c.9")
        self.assertEqual((await self.messages.read(self.eve, message.id)).value, message)
        self.assertEqual(
            message.to_json(),
            {
                "id": message.id,
                "userId": self.ann.user_id,
                "content": "hi",
                "channelId": "c.9",
                "createdAt": message.created_at,
                "updatedAt": message.created_at,
            },
        )
        topics = ("messages", f"messages.user.{self.ann.user_id}", "messages.channel.c%2E9")
        self.assertEqual((await self.log())[-1], ("message.sent", topics, {"message": message.to_json()}))

    async def test_refused(self) -> None:
        """Nothing is kept and nothing is told."""
        before = len(await self.log())
        for fields, refusal in [
            ({}, ValidationError),
            ({"content": "hi"}, ValidationError),
            ({"content": "", "channelId": "c"}, ValidationError),
            ({"content": "hi", "recipientId": "x"}, ValidationError),
            ({"content": "hi", "recipientId": self.new_id()}, NotFound),
        ]:
            with self.assertRaises(refusal):
                await self.messages.send(self.ann, fields)
        self.assertEqual((len(await self.log()), await self.contents(self.ann)), (before, []))

    async def test_by_an_account_that_was_closed_meanwhile(self) -> None:
        await self.accounts.close(self.ann, self.ann.user_id, PROOF)
        with self.assertRaises(Unauthorized):
            await self.send(self.ann, "ghost", channel="c")


class FieldsOfOthersTests(MessagesCase):
    async def test_a_key_is_in_the_header(self) -> None:
        """In the body it was ignored, and a repetition sent twice."""
        for name in ("key", "idempotencyKey", "Idempotency-Key"):
            with self.assertRaises(ValidationError) as refused:
                await self.messages.send(self.ann, {"content": "a", "channelId": "c", name: "k"})
            [error] = refused.exception.errors
            told = "Unknown field: did you mean the header Idempotency-Key?"
            self.assertEqual((error.path, error.message), ((name,), told))

    async def test_what_would_be_the_first_page_for_ever_or_show_all(self) -> None:
        for name, meant in (
            ("cursor", "before or after"),
            ("offset", "page"),
            ("recipientId", "userId or channelId"),
        ):
            with self.assertRaises(ValidationError) as refused:
                await self.messages.page(self.ann, {name: "1"})
            [error] = refused.exception.errors
            self.assertEqual((error.path, error.message), ((name,), f"Unknown field: did you mean {meant}?"))


class VisibilityTests(MessagesCase):
    async def asyncSetUp(self) -> None:
        await super().asyncSetUp()
        self.secret = await self.send(self.ann, "psst", to=self.bob, channel="c")
        self.open = await self.send(self.ann, "hello", channel="c")

    async def test_two_see_it_the_third_does_not(self) -> None:
        """In every list and total; to the third it does not exist (docs/predecessor-faults.md#fault-13)."""
        ann = self.ann.user_id
        for who, seen in [
            (self.ann, ["hello", "psst"]),
            (self.bob, ["hello", "psst"]),
            (self.eve, ["hello"]),
        ]:
            for filters in ({}, {"userId": ann}, {"channelId": "c"}, {"userId": ann, "channelId": "c"}):
                self.assertEqual(await self.contents(who, **filters), seen)
            pages = await self.messages.pages_by_author(who, [ann], {})
            self.assertEqual(([m.content for m in pages[ann].items], pages[ann].total), (seen, len(seen)))
        for operation in (self.messages.read, self.messages.delete):
            with self.assertRaises(NotFound):
                await operation(self.eve, self.secret.id)

    async def test_withdrawing(self) -> None:
        """Its author may; the log forgets what it said and tells the same topics that it is gone."""
        for who, refusal in [(self.bob, Forbidden), (self.eve, NotFound)]:
            with self.assertRaises(refusal):
                await self.messages.delete(who, self.secret.id)
        await self.messages.delete(self.ann, self.secret.id)
        for id, refusal in [(self.secret.id, NotFound), (self.new_id(), NotFound), ("x", ValidationError)]:
            with self.assertRaises(refusal):
                await self.messages.delete(self.ann, id)
        log = await self.log()
        topics = (f"messages.user.{self.ann.user_id}", f"messages.user.{self.bob.user_id}")
        self.assertEqual(log[3], ("message.sent", topics, None))
        self.assertEqual(
            log[5],
            (
                "message.deleted",
                topics,
                {
                    "messageId": self.secret.id,
                    "userId": self.ann.user_id,
                    "channelId": "c",
                    "recipientId": self.bob.user_id,
                },
            ),
        )
        self.assertEqual(log[4][2], {"message": self.open.to_json()})
        self.assertNotIn("psst", str(log))

    async def test_in_a_channel_that_one_may_not_read(self) -> None:
        """It is in no list, total and operation, but for what oneself said there and direct messages."""
        said = await self.send(self.bob, "by bob", channel="c")
        await self.send(self.eve, "by eve", channel="d")
        ann = self.ann.user_id
        members = frozenset([ann])
        one = (Rule("messages.channel.c", VERBS, members),)
        for rules in (
            one,
            (*one, Rule("messages.channel.d", VERBS)),
            (Rule("messages.channel.*", [], members),),
        ):
            self.messages = Messages(
                self.store, self.sends, self.events, Policy(rules), self.now, self.new_id
            )
            everything = len(rules) == 1 and rules[0].allow == frozenset()
            d = [] if everything else ["by eve"]
            hello = [] if everything else ["by bob"]
            for who, filters, seen in [
                (self.ann, {}, [*d, *hello, "hello", "psst"]),
                (self.ann, {"channelId": "c"}, [*hello, "hello", "psst"]),
                (self.bob, {}, [*d, "by bob", "psst"]),
                (self.bob, {"channelId": "c"}, ["by bob", "psst"]),
                (self.bob, {"userId": ann}, ["psst"]),
                (self.bob, {"userId": ann, "channelId": "c"}, ["psst"]),
                (self.bob, {"userId": self.bob.user_id, "channelId": "c"}, ["by bob"]),
                (self.eve, {}, ["by eve"]),
                (self.eve, {"channelId": "c"}, []),
                (self.eve, {"channelId": "nowhere"}, []),
                (self.eve, {"userId": ann}, []),
                (self.eve, {"userId": self.eve.user_id}, ["by eve"]),
            ]:
                self.assertEqual(await self.contents(who, **filters), seen, (rules, filters))
            people = [ann, self.bob.user_id]
            pages = await self.messages.pages_by_author(self.bob, people, {})
            found = [([m.content for m in pages[id].items], pages[id].total) for id in people]
            self.assertEqual(found, [(["psst"], 1), (["by bob"], 1)])
            for operation in (self.messages.read, self.messages.delete):
                with self.assertRaises(NotFound):
                    await operation(self.eve, self.open.id)
            self.assertEqual((await self.messages.read(self.bob, said.id)).value, said)  # one's own
        await self.messages.delete(self.bob, said.id)

    async def test_sending_to_a_channel_that_one_may_not_write_to(self) -> None:
        """Refused, with nothing kept; a direct message is in no channel, whatever it says."""
        rules = (Rule("messages.channel.c", [PUBLISH], frozenset([self.ann.user_id])),)
        self.messages = Messages(self.store, self.sends, self.events, Policy(rules), self.now, self.new_id)
        before = len(await self.log())
        with self.assertRaises(Forbidden):
            await self.send(self.bob, "hi", channel="c")
        with self.assertRaises(ValidationError):  # all faults of the body come first
            await self.send(self.bob, "", channel="c")
        self.assertEqual(len(await self.log()), before)
        await self.send(self.ann, "hi", channel="c")
        await self.send(self.bob, "hi", channel="d")
        direct = await self.send(self.bob, "hi", to=self.ann, channel="c")
        self.assertEqual((await self.messages.read(self.ann, direct.id)).value, direct)

    async def test_a_key_that_was_used_while_one_might_write(self) -> None:
        """Its repetition is refused, too, once one may not."""
        fields = {"content": "hi", "channelId": "c"}
        await self.messages.send(self.bob, fields, "key")
        rules = (Rule("messages.channel.c", []),)
        self.messages = Messages(self.store, self.sends, self.events, Policy(rules), self.now, self.new_id)
        with self.assertRaises(Forbidden):
            await self.messages.send(self.bob, fields, "key")

    async def test_they_go_with_an_account(self) -> None:
        """Those it sent and those it got, from the rows and from the log."""
        await self.send(self.eve, "still here", channel="c")
        await self.accounts.close(self.bob, self.bob.user_id, PROOF)
        self.assertEqual(await self.contents(self.ann), ["still here", "hello"])
        self.assertNotIn("psst", str(await self.log()))
        await self.accounts.close(self.ann, self.ann.user_id, PROOF)
        self.assertEqual(await self.contents(self.eve), ["still here"])
        self.assertNotIn("hello", str(await self.log()))


class ListTests(MessagesCase):
    async def test_lists_have_the_order_in_which_subscribers_heard_it(self) -> None:
        """The log's, also where the clock of one of two instances is ten minutes behind."""
        behind = Messages(
            self.store,
            self.sends,
            self.events,
            Policy(),
            lambda: self.now() - 600,
            Uuid7Generator(lambda: 1.0),
        )
        here = self.messages
        for n, self.messages in enumerate((here, behind, here, behind)):
            await self.send(self.ann, str(n), channel="c")
        self.assertEqual(
            [
                content["message"]["content"]
                for type, _, content in await self.log()
                if type == "message.sent"
            ],
            ["0", "1", "2", "3"],
        )
        ann, expected = self.ann.user_id, ["3", "2", "1", "0"]
        people, others = frozenset([self.bob.user_id]), frozenset([ann])
        for rules in (
            (),
            (Rule("messages.channel.x", VERBS, others),),
            (Rule("messages.channel.*", VERBS, people),),
        ):
            self.messages = Messages(
                self.store, self.sends, self.events, Policy(rules), self.now, self.new_id
            )
            for who in (self.ann, self.bob):
                for filters in ({}, {"userId": ann}, {"channelId": "c"}, {"userId": ann, "channelId": "c"}):
                    self.assertEqual(await self.contents(who, **filters), expected, (rules, filters))
                pages = await self.messages.pages_by_author(who, [ann], {})
                self.assertEqual([m.content for m in pages[ann].items], expected, rules)

    async def test_pages_are_stable(self) -> None:
        """Newest first, each once, though many have one time (docs/predecessor-faults.md#fault-25)."""
        stopped = self.now()
        self.messages._now = lambda: stopped
        sent = [await self.send(self.ann, str(n), channel="c") for n in range(7)]
        pages = [await self.messages.page(self.bob, {"limit": 3, "page": n}) for n in (1, 2, 3, 4)]
        self.assertEqual([len(page.items) for page in pages], [3, 3, 1, 0])
        self.assertEqual(
            sorted(m.id for page in pages for m in page.items), sorted(message.id for message in sent)
        )
        self.assertEqual({page.total for page in pages}, {7})

    async def test_filters(self) -> None:
        """No filter is dropped, and a wrong one is told (docs/predecessor-faults.md#fault-20)."""
        await self.send(self.ann, "a-c", channel="c")
        await self.send(self.ann, "a-d", channel="d")
        await self.send(self.bob, "b-c", channel="c")
        ann = self.ann.user_id
        self.assertEqual(await self.contents(self.eve, userId=ann), ["a-d", "a-c"])
        self.assertEqual(await self.contents(self.eve, channelId="c"), ["b-c", "a-c"])
        self.assertEqual(await self.contents(self.eve, channelId="c", userId=ann), ["a-c"])
        self.assertEqual(await self.contents(self.eve, channelId="nowhere"), [])
        for fields in ({"userId": "x"}, {"limit": -1}, {"limit": 101}, {"page": 0}, {"channelId": ""}):
            with self.assertRaises(ValidationError):
                await self.messages.page(self.eve, fields)

    async def test_pages_of_several_authors_in_one_read(self) -> None:
        """No query per author (docs/predecessor-faults.md#fault-25)."""
        for n in range(3):
            await self.send(self.ann, f"a{n}", channel="c")
        await self.send(self.bob, "b0", channel="c")
        authors = [self.ann.user_id, self.bob.user_id, self.eve.user_id]
        before = len(self.reads_and_writes)
        pages = await self.messages.pages_by_author(self.eve, authors, {"limit": 2})
        self.assertEqual(self.reads_and_writes[before:], ["read"])
        self.assertEqual(
            [([m.content for m in pages[id].items], pages[id].total) for id in authors],
            [(["a2", "a1"], 3), (["b0"], 1), ([], 0)],
        )
        with self.assertRaises(ValidationError):
            await self.messages.pages_by_author(self.eve, authors, {"limit": 101})

    async def walk(self, who: Identity, direction: str, start: str | None, **fields: object) -> list[str]:
        """What a client finds that goes from page to page by the cursors that it is given."""
        found: list[str] = []
        cursor = start
        while True:
            step = {} if cursor is None else {direction: cursor}
            page = await self.messages.page(who, {"limit": 2, **step, **fields})
            contents = [message.content for message in page.items]
            found += contents if direction == "before" else contents[::-1]
            cursor = page.before if direction == "before" else page.after
            if not (page.has_older if direction == "before" else page.has_newer):
                return found

    async def test_cursors_go_through_every_list_in_both_directions(self) -> None:
        """Whatever narrows it; each with all its rows, and no cursor leads to more than the list has."""
        for n in range(3):
            await self.send(self.ann, f"c{n}", channel="c")
            await self.send(self.ann, f"d{n}", channel="d")
            await self.send(self.bob, f"b{n}", channel="c")
            await self.send(self.ann, f"to bob {n}", to=self.bob, channel="c")
        ann = self.ann.user_id
        closed_c = (Rule("messages.channel.c", VERBS, frozenset([ann])),)
        all_closed = (Rule("messages.channel.*", VERBS, frozenset([ann])),)
        for rules in ((), closed_c, all_closed):
            self.messages = Messages(
                self.store, self.sends, self.events, Policy(rules), self.now, self.new_id
            )
            for who in (self.ann, self.bob, self.eve):
                for filters in (
                    {},
                    {"userId": ann},
                    {"channelId": "c"},
                    {"userId": ann, "channelId": "c"},
                ):
                    everything = await self.contents(who, **filters)
                    case = rules, who, filters
                    self.assertEqual(await self.walk(who, "before", None, **filters), everything, case)
                    begin = self.store.cursor_of(0)
                    forth = await self.walk(who, "after", begin, **filters)
                    self.assertEqual(forth, everything[::-1], case)

    async def test_who_goes_on_by_cursors_misses_nothing_and_has_nothing_twice(self) -> None:
        """While others send and withdraw, also the very message that the cursor is of."""
        sent = [await self.send(self.ann, str(n), channel="c") for n in range(9)]
        page = await self.messages.page(self.bob, {"limit": 3})
        found = [message.content for message in page.items]
        for turn in range(2):
            await self.send(self.eve, f"new {turn}", channel="c")
            await self.messages.delete(self.ann, page.items[-1].id)
            page = await self.messages.page(self.bob, {"limit": 3, "before": page.before})
            found += [message.content for message in page.items]
        self.assertEqual(found, [message.content for message in sent[::-1]])
        self.assertEqual((page.before, page.has_older, page.has_newer), (None, False, True))

    async def test_what_came_since_is_behind_the_cursors_of_a_write_and_of_a_list(self) -> None:
        """They are those of the log, the same for lists and for subscribers."""
        fields = {"content": "one", "channelId": "c"}
        one = await self.messages.send(self.ann, fields)
        seen = await self.messages.page(self.eve, {})
        self.assertEqual((seen.after, seen.cursor), (one.cursor, one.cursor))
        await self.send(self.ann, "to bob", to=self.bob)
        nothing = await self.messages.page(self.eve, {"after": seen.after})
        self.assertEqual(
            (
                nothing.items,
                nothing.after,
                nothing.before,
                nothing.has_newer,
                nothing.has_older,
                nothing.total,
            ),
            ((), one.cursor, f"{one.cursor}~", False, True, 1),
        )
        for text in ("two", "three", "four"):
            await self.send(self.bob, text, channel="c")
        news = await self.messages.page(self.eve, {"after": nothing.after, "limit": 2})
        self.assertEqual([message.content for message in news.items], ["three", "two"])  # next to the cursor
        self.assertEqual((news.page, news.has_newer, news.has_older), (1, True, True))
        back = await self.messages.page(self.eve, {"before": news.before})
        self.assertEqual([message.content for message in back.items], ["one"])
        self.assertEqual(list(back.item_cursors()), [one.cursor])

    async def test_from_a_page_without_rows_one_can_turn_round(self) -> None:
        """At either end, of every list: what is there comes next, the row of the cursor included."""
        for n in range(3):
            await self.send(self.ann, f"c{n}", channel="c")

        async def by_author(fields: dict[str, object]) -> PageOf[Message]:
            return (await self.messages.pages_by_author(self.bob, [self.ann.user_id], fields))[
                self.ann.user_id
            ]

        lists: tuple[Callable[[dict[str, object]], Awaitable[PageOf[Any]]], ...] = (
            lambda fields: self.messages.page(self.bob, fields),
            lambda fields: self.messages.page(self.bob, {**fields, "channelId": "c"}),
            lambda fields: self.messages.page(self.bob, {**fields, "userId": self.ann.user_id}),
            lambda fields: self.accounts.page(self.bob, fields),
            by_author,
        )
        for read in lists:
            everything = await read({})
            end = await read({"after": everything.cursor})
            self.assertEqual((end.items, end.has_newer, end.has_older), ((), False, True))
            self.assertEqual((await read({"before": end.before})).items, everything.items)
            (oldest, *_) = list(everything.item_cursors())[::-1]
            begin = await read({"before": oldest})
            self.assertEqual((begin.items, begin.before, begin.has_newer), ((), None, True))
            self.assertEqual((await read({"after": begin.after})).items, everything.items)
            beyond = await read({"page": 9})
            self.assertEqual((beyond.items, beyond.before, beyond.has_newer), ((), None, True))
            self.assertEqual((await read({"after": beyond.after})).items, everything.items)
            with self.assertRaises(ValidationError):
                await read({"after": end.before})

    async def test_an_empty_list_says_where_its_first_message_will_be(self) -> None:
        for fields in ({}, {"channelId": "c"}, {"before": self.store.cursor_of(0)}):
            empty = await self.messages.page(self.ann, fields)
            self.assertEqual(
                (empty.items, empty.before, empty.has_older, empty.has_newer), ((), None, False, False)
            )
            assert empty.after is not None
            first = await self.send(self.ann, "first", channel="c")
            page = await self.messages.page(self.ann, {"after": empty.after})
            self.assertEqual(page.items, (first,), fields)
            await self.messages.delete(self.ann, first.id)

    async def test_what_is_no_cursor(self) -> None:
        """Each fault is named, with its field, beside all others."""
        await self.send(self.ann, "hi", channel="c")
        good, head = self.store.cursor_of(1), self.store.newest
        term = good.partition(".")[0]
        bad = (
            "",
            "x",
            "1",
            f"{term}.",
            f"{term}.1x",
            f"{term}.01",
            "other.1",
            f"{term}.{head + 1}",
            f"{term}.-0",
        )
        bad += (f"{term}.{10**18}", f"{term}.{10**30}", good + "\n", "\0")
        cases: list[tuple[dict[str, object], list[str]]] = [
            *(({field: cursor}, [field]) for field in ("before", "after") for cursor in bad),
            *(({field: 7}, [field]) for field in ("before", "after")),
            ({"before": good, "after": good}, ["after"]),
            ({"before": good, "page": 2}, ["page"]),
            ({"after": good, "page": "2"}, ["page"]),
            ({"before": "x", "limit": 101, "userId": "y"}, ["limit", "before", "userId"]),
        ]
        for fields, wrong in cases:
            for call in (
                self.messages.page(self.ann, fields),
                self.messages.pages_by_author(self.ann, [self.ann.user_id], fields),
                self.accounts.page(self.ann, fields),
            ):
                with self.assertRaises(ValidationError) as caught:
                    await call
                paths = [error.path[0] for error in caught.exception.errors]
                self.assertEqual([path for path in wrong if path != "userId" or path in paths], paths, fields)
        for fields in ({"before": good, "page": 1}, {"before": good}, {"after": None, "page": 2}):
            await self.messages.page(self.ann, fields)

    async def test_cursors_of_several_authors(self) -> None:
        for n in range(3):
            await self.send(self.ann, f"a{n}", channel="c")
            await self.send(self.bob, f"b{n}", channel="c")
        authors = [self.ann.user_id, self.bob.user_id, self.eve.user_id]
        first = await self.messages.pages_by_author(self.eve, authors, {"limit": 1})
        place = first[authors[0]].before
        before = await self.messages.pages_by_author(self.eve, authors, {"limit": 1, "before": place})
        after = await self.messages.pages_by_author(self.eve, authors, {"limit": 1, "after": place})
        for pages, expected in (
            (before, [(["a1"], True, True), (["b1"], True, True), ([], False, False)]),
            (after, [([], True, False), (["b2"], True, False), ([], False, False)]),
        ):
            found = [pages[id] for id in authors]
            self.assertEqual(
                [([m.content for m in page.items], page.has_older, page.has_newer) for page in found],
                expected,
            )

    async def test_a_page_far_beyond_the_end(self) -> None:
        self.assertEqual((await self.messages.page(self.eve, {"page": 2**31 - 1, "limit": 100})).items, ())
