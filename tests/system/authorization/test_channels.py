"""Private channels: everyone tries every way to read and write a message, under one set of rules after the other.

Between two sets the server is started again on the same data, as an operator does
who changes the rules; tokens, credentials and cursors go on.  All is compared with a small model.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Sequence

from attrs import evolve, field, frozen
from twisted.internet.defer import Deferred, gatherResults

from multiproto.core.pubsub.permissions import Rule

from ...live.clients import Device, Person, Rest, WebSocket
from ...live.running import LiveCase
from ..toy_wire.toy_wire import toy_wire
from . import model
from .model import FORBIDDEN, HISTORY, NOT_FOUND, OK, PUBLISH, SUBSCRIBE, VERBS, Principal
from .protocol_clients import ProtocolClients

PATTERNS = ("messages", "messages.channel.*", "messages.**")
PAGE = "{ pageInfo { total } edges { node { id } } }"
QUERY = (
    "subscription($pattern: String!, $after: String!) { topic(pattern: $pattern, after: $after) { data } }"
)


@frozen
class Said:
    """A message that somebody has sent."""

    id: str
    author: str
    channel: str
    recipient: str | None = None

    @property
    def topics(self) -> list[str]:
        people = [f"messages.user.{each}" for each in (self.author, self.recipient) if each is not None]
        return people if self.recipient else ["messages", *people, f"messages.channel.{self.channel}"]


@frozen
class ChannelRule:
    """What a set of rules allows on a channel: `who` is user ids, or `None` for everybody."""

    channel: str  # or `*`, or `{user}`
    allow: Sequence[str]
    who: frozenset[str] | None = field(default=None)

    def applies(self, user: str, channel: str) -> bool:
        return self.channel in ("*", channel) or (self.channel == "{user}" and channel == user)


Rules = Sequence[ChannelRule]


def is_ruled(rules: Rules, channel: str) -> bool:
    return any(rule.channel in ("*", "{user}", channel) for rule in rules)


def may_use(rules: Rules, user: str, verb: str, channel: str) -> bool:
    """Whether a user, apart from what a credential narrows, may do that with a channel."""
    verbs = {SUBSCRIBE, HISTORY} if verb == HISTORY else {verb}
    allowed = {
        each
        for rule in rules
        if rule.applies(user, channel) and (rule.who is None or user in rule.who)
        for each in rule.allow
    }
    return not is_ruled(rules, channel) or verbs <= allowed


def is_granted(who: Principal, verb: str, topic: str) -> bool:
    verbs = {SUBSCRIBE, HISTORY} if verb == HISTORY else {verb}
    return who.grants is None or all(
        any(
            each in given and model.covers(pattern.split("."), topic.split("."))
            for pattern, given in who.grants
        )
        for each in verbs
    )


def gets(rules: Rules, who: Principal, verb: str, pattern: str, said: Said) -> bool:
    """Whether an event about `said` reaches `who` on some topic that `pattern` covers."""
    assert who.user is not None
    channel = f"messages.channel.{said.channel}"
    for topic in said.topics:
        if not model.covers(pattern.split("."), topic.split(".")) or not is_granted(who, verb, topic):
            continue
        if topic.startswith("messages.user."):
            readable = topic == f"messages.user.{who.user}"
        else:
            readable = may_use(rules, who.user, verb, said.channel)
            readable &= not is_ruled(rules, said.channel) or is_granted(who, verb, channel)
        if readable:
            return True
    return False


def finds(rules: Rules, user: str, said: Said) -> bool:
    """Whether `said` is in the lists of `user`."""
    if user in (said.author, said.recipient):
        return True
    return said.recipient is None and may_use(rules, user, HISTORY, said.channel)


class ChannelMatrixTests(LiveCase):
    wires = (*LiveCase.wires, toy_wire)

    async def asyncSetUp(self) -> None:
        self.cells = 0
        self.differences: list[str] = []
        self.people = [await Person.register(self.address, name) for name in ("ann", "bob", "cleo", "dan")]
        self.ann, self.bob, self.cleo, self.dan = (person.id for person in self.people)
        await self.server.getServiceNamed("operators").grant(self.cleo)
        both = ("subscribe", "history")
        self.credentials = [
            await self.credential("with", [("messages.**", both)]),
            await self.credential("without", [("messages", both), ("messages.channel.open", both)]),
            await self.credential("only", [("messages.channel.board", ("subscribe",))]),
        ]
        logins = [
            Principal(name, person.token, person.id)
            for name, person in zip(("ann", "bob", "operator", "dan"), self.people)
        ]
        self.principals = [*logins, *self.credentials]
        _, answer = await self.rest(logins[0]).ask("GET", "/api/v1/messages")
        self.cursor = answer["cursor"]  # of before anything was said
        self.said: list[Said] = []
        for author, channel, recipient in (
            *((self.ann, "board", None), (self.bob, "board", None), (self.dan, "board", self.ann)),
            *((self.ann, self.ann, None), (self.bob, self.ann, None), (self.ann, "board", self.bob)),
        ):
            await self.say(author, channel, recipient)
        await self.say(self.bob, "open")

    async def credential(self, name: str, grants: list[tuple[str, tuple[str, ...]]]) -> Principal:
        """One of Ann's."""
        asked = [{"pattern": pattern, "verbs": list(verbs)} for pattern, verbs in grants]
        fields = {"name": name, "grants": asked}
        status, answer = await self.people[0].rest.ask("POST", "/api/v1/auth/credentials", fields)
        assert status == 201, answer
        return Principal(f"credential {name}", answer["data"]["credential"], self.ann, grants)

    def rest(self, who: Principal) -> Rest:
        return Rest(self.address, who.token)

    async def say(self, author: str, channel: str, recipient: str | None = None) -> Said:
        """A message that was sent while that was allowed."""
        [person] = [each for each in self.people if each.id == author]
        fields = {"content": "x", "channelId": channel, **({"recipientId": recipient} if recipient else {})}
        status, answer = await Rest(self.address, person.token).ask("POST", "/api/v1/messages", fields)
        assert status == 201, answer
        self.said.append(Said(answer["data"]["id"], author, channel, recipient))
        return self.said[-1]

    async def change_rules(self, rules: Rules) -> None:
        await self.running.pop().stopService()
        self.addresses.pop()
        written = tuple(
            Rule(f"messages.channel.{rule.channel}", frozenset(rule.allow), rule.who) for rule in rules
        )
        self.server = await self.start_one(evolve(self.config, rules=written))
        self.address = self.addresses[0]

    def compare(self, who: Principal, what: str, expected: object, **found: object) -> None:
        for protocol, outcome in found.items():
            self.cells += 1
            if outcome != expected:
                self.differences.append(f"{who.name}: {what} over {protocol}: {outcome}, not {expected}")

    async def test_every_way_under_each_set_of_rules(self) -> None:
        board, own = partial(ChannelRule, "board"), ChannelRule("{user}", VERBS)
        for rules in (
            (),
            (board(VERBS, frozenset([self.ann])),),  # ann is a member, all others are not
            (board(VERBS, frozenset([self.bob])), board((SUBSCRIBE,), frozenset([self.ann]))),
            (board((PUBLISH,)),),  # one may say what one may not hear
            (ChannelRule("open", VERBS), own, board((SUBSCRIBE, HISTORY), frozenset([self.ann, self.dan]))),
            (ChannelRule("*", VERBS, frozenset([self.bob])), ChannelRule("open", VERBS)),
            (board(()),),
        ):
            await self.change_rules(rules)
            for who in self.principals:
                await self.explanations(rules, who)
                await self.sending(rules, who)
                if who.grants is None:
                    await self.lists(rules, who)
                    await self.single_messages(rules, who)
                clients = await ProtocolClients.open(who, self.address, self.server.port_number("toy"))
                await self.outcomes_of_subscribing(rules, who, clients)
                await clients.close()
            await self.subscriptions(rules)
        [operator] = [who for who in self.principals if who.name == "operator"]
        status, audit = await self.rest(operator).ask("GET", "/api/v1/audit?limit=100")
        self.assertEqual((status, "board" in str(audit)), (200, False))
        self.assertEqual(self.differences, [])
        self.assertGreater(self.cells, 1000)
        print(f"{self.cells} comparisons")

    # One way after the other.

    async def explanations(self, rules: Rules, who: Principal) -> None:
        assert who.user is not None
        for channel in ("board", "open", self.ann):
            topic = f"messages.channel.{channel}"
            for verb in VERBS:
                _, answer = await self.rest(who).ask("GET", f"/api/v1/topics/{topic}/explain?verb={verb}")
                query = f'{{ explain(topic: "{topic}", verb: "{verb}") {{ allowed }} }}'
                by_graphql = await self.rest(who).graphql(query)
                allowed = may_use(rules, who.user, verb, channel) and is_granted(who, verb, topic)
                self.compare(
                    who,
                    f"explain {verb} {channel}",
                    allowed and not (verb == PUBLISH and who.grants is not None),
                    rest=answer["data"]["allowed"],
                    graphql=by_graphql["data"]["explain"]["allowed"],
                )

    async def sending(self, rules: Rules, who: Principal) -> None:
        """By REST and GraphQL; nobody publishes on a channel's topic."""
        assert who.user is not None
        rest = self.rest(who)
        for channel in ("board", self.ann):
            fields = {"content": "x", "channelId": channel}
            status, answer = await rest.ask("POST", "/api/v1/messages", fields)
            mutation = "mutation($input: SendMessageInput!) { sendMessage(input: $input) { id } }"
            by_graphql = await rest.graphql(mutation, input=fields)
            allowed = who.grants is None and may_use(rules, who.user, PUBLISH, channel)
            self.compare(
                who,
                f"send to {channel}",
                allowed,
                rest=status == 201,
                graphql=not by_graphql.get("errors"),
            )
            if allowed:
                for id in (answer["data"]["id"], by_graphql["data"]["sendMessage"]["id"]):
                    self.said.append(Said(id, who.user, channel))
            else:
                codes = (answer["error"]["code"], by_graphql["errors"][0]["extensions"]["code"])
                self.assertEqual(codes, (5, FORBIDDEN))

    async def lists(self, rules: Rules, who: Principal) -> None:
        assert who.user is not None
        rest = self.rest(who)
        seen = [said for said in reversed(self.said) if finds(rules, who.user, said)]
        for path, field_, fits in (
            ("", "messages(limit: 100)", lambda said: True),
            *(
                (f"/user/{id}", f'userMessages(userId: "{id}", limit: 100)', partial(_is_by, id))
                for id in (self.ann, self.bob)
            ),
            *(
                (f"/channel/{id}", f'channelMessages(channelId: "{id}", limit: 100)', partial(_is_in, id))
                for id in ("board", "open", "nowhere", self.ann)
            ),
            (
                f"/channel/board?userId={self.ann}",
                "",
                lambda said: _is_in("board", said) and _is_by(self.ann, said),
            ),
        ):
            expected = [said.id for said in seen if fits(said)]
            separator = "&" if "?" in path else "?"
            _, page = await rest.ask("GET", f"/api/v1/messages{path}{separator}limit=100")
            _, short = await rest.ask("GET", f"/api/v1/messages{path}{separator}limit=2&page=2")
            found: dict[str, object] = {
                "rest": ([each["id"] for each in page["data"]["data"]], page["data"]["pagination"]["total"]),
                "pages": (expected, short["data"]["pagination"]["total"]),
            }
            self.compare(
                who, f"second page {path}", expected[2:4], rest=[each["id"] for each in short["data"]["data"]]
            )
            if field_:
                answer = await rest.graphql(f"{{ {field_} {PAGE} }}")
                found["graphql"] = _ids(answer["data"][field_.partition("(")[0]])
            self.compare(who, f"list {path or field_}", (expected, len(expected)), **found)
        relations = f"{{ id messages(limit: 60) {PAGE} }}"
        users = [self.ann, self.bob, self.dan]
        aliases = " ".join(f'u{number}: user(id: "{id}") {relations}' for number, id in enumerate(users))
        answer = await rest.graphql(f"{{ {aliases} }}")
        mine = await rest.graphql(f"{{ me {relations} }}")
        for user in [*answer["data"].values(), mine["data"]["me"]]:
            expected = [said.id for said in seen if said.author == user["id"]][:60]
            self.compare(
                who, f"messages of {user['id']}", (expected, len(expected)), graphql=_ids(user["messages"])
            )

    async def single_messages(self, rules: Rules, who: Principal) -> None:
        """What one may not read is not there, neither to read nor to delete."""
        assert who.user is not None
        rest = self.rest(who)
        for said in self.said[:7]:
            found = finds(rules, who.user, said)
            status, _ = await rest.ask("GET", f"/api/v1/messages/{said.id}")
            answer = await rest.graphql(f'{{ message(id: "{said.id}") {{ id userId user {{ id }} }} }}')
            self.compare(
                who,
                f"read {said}",
                OK if found else NOT_FOUND,
                rest={200: OK, 404: NOT_FOUND}.get(status, status),
                graphql=_code(answer),
            )
            if said.author != who.user:
                status, _ = await rest.ask("DELETE", f"/api/v1/messages/{said.id}")
                answer = await rest.graphql(f'mutation {{ deleteMessage(id: "{said.id}") }}')
                self.compare(
                    who,
                    f"delete {said}",
                    FORBIDDEN if found else NOT_FOUND,
                    rest={403: FORBIDDEN, 404: NOT_FOUND}.get(status, status),
                    graphql=_code(answer),
                )

    async def outcomes_of_subscribing(self, rules: Rules, who: Principal, clients: ProtocolClients) -> None:
        assert who.user is not None
        for channel in ("board", "open", self.ann):
            topic = f"messages.channel.{channel}"
            for verb, after in ((SUBSCRIBE, None), (HISTORY, "nowhere")):
                allowed = may_use(rules, who.user, verb, channel) and is_granted(who, verb, topic)
                found = await clients.subscribe(topic, after)
                if after is None:
                    found["messageSent"] = await clients.subscription(f'messageSent(channelId: "{channel}")')
                self.compare(who, f"{verb} {channel}", OK if allowed else FORBIDDEN, **found)
            self.compare(who, f"publish on {topic}", FORBIDDEN, **await clients.publish(topic))

    async def subscriptions(self, rules: Rules) -> None:
        """All principals resume from the beginning on every protocol, and hear of what is said then."""
        first = await self.say(self.dan, "open")
        past = list(self.said)
        streams = [
            (who, pattern, protocol, await open_stream(self.rest(who), pattern, self.cursor))
            for who in self.principals
            for pattern in PATTERNS
            if is_granted(who, HISTORY, "messages.channel.open")
            for protocol, open_stream in (
                ("sse", _open_sse),
                ("graphql", _open_graphql),
                ("websocket", _open_websocket),
                ("tcp", _open_tcp),
                ("several subscriptions", _open_several),
            )
        ]
        replayed = await gatherResults([_heard(stream, first.id) for *_, stream in streams])
        for person in self.people:
            if may_use(rules, person.id, PUBLISH, "board"):
                await self.say(person.id, "board")
        await self.say(self.bob, "board", self.ann)
        last = await self.say(self.dan, "open")
        live = await gatherResults([_heard(stream, last.id) for *_, stream in streams])
        for (who, pattern, protocol, stream), before, after in zip(streams, replayed, live):
            for verb, some, heard in (
                (HISTORY, past, before),
                (SUBSCRIBE, self.said[len(past) :], after),
            ):
                if verb == SUBSCRIBE and protocol == "several subscriptions":
                    pattern = "**"
                expected = [said.id for said in some if gets(rules, who, verb, pattern, said)]
                self.compare(who, f"{verb} of {pattern}", expected, **{protocol: heard})
            await stream.close()


def _is_by(id: str, said: Said) -> bool:
    return said.author == id


def _is_in(id: str, said: Said) -> bool:
    return said.channel == id


def _ids(connection: Any) -> tuple[list[str], int]:
    return [edge["node"]["id"] for edge in connection["edges"]], connection["pageInfo"]["total"]


def _code(answer: Any) -> str:
    errors = answer.get("errors")
    return str(errors[0]["extensions"]["code"]) if errors else OK


@frozen
class _Stream:
    """An open subscription: `next` gives the data of the next delivery, or `None` for whatever else came."""

    next: Any
    close: Any


async def _read(stream: _Stream, last: str) -> list[str]:
    """The ids of the messages that it delivers, up to `last`."""
    heard: list[str] = []
    while last not in heard:
        data = await stream.next()
        if data is not None and "message" in data:
            heard.append(data["message"]["id"])
    return heard


def _heard(stream: _Stream, last: str) -> Deferred[list[str]]:
    return Deferred.fromCoroutine(_read(stream, last))


async def _open_sse(rest: Rest, pattern: str, after: str) -> _Stream:
    events = await rest.events("GET", f"/api/v1/topics/{pattern}/events?after={after}")

    async def next() -> Any:
        kind, said = await events.inbox.next()
        return said["data"] if kind == "message" else None

    async def close() -> None:
        events.hang_up()

    return _Stream(next, close)


async def _open_graphql(rest: Rest, pattern: str, after: str) -> _Stream:
    body = {"query": QUERY, "variables": {"pattern": pattern, "after": after}}
    events = await rest.events("POST", "/graphql", body)

    async def next() -> Any:
        _, said = await events.inbox.next()
        return said["data"]["topic"]["data"]

    async def close() -> None:
        events.hang_up()

    return _Stream(next, close)


async def _open_websocket(rest: Rest, pattern: str, after: str, *others: str) -> _Stream:
    socket = await WebSocket.open(rest.address)
    await socket.ask(type="auth", token=rest.token)
    for other in others:
        assert (await socket.ask(type="subscribe", topic=other))["type"] == "subscribed"
    reply = await socket.ask(type="subscribe", topic=pattern, after=after)
    assert reply["type"] == "subscribed", reply

    async def next() -> Any:
        said = await socket.inbox.next()
        return said["data"] if said["type"] == "message" else None

    return _Stream(next, socket.close)


async def _open_several(rest: Rest, pattern: str, after: str) -> _Stream:
    """A WebSocket that resumes with `pattern`, and hears of all that is new by another of its subscriptions, too."""
    return await _open_websocket(rest, pattern, after, "**")


async def _open_tcp(rest: Rest, pattern: str, after: str) -> _Stream:
    device = await Device.open(rest.address)
    await device.ask(0x01, token=rest.token)
    kind, reply = await device.ask(0x10, topic=pattern, after=after)
    assert kind == 0x12, reply

    async def next() -> Any:
        kind, said = await device.inbox.next()
        return said["content"] if kind == 0x21 else None

    return _Stream(next, device.close)
