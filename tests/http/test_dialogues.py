"""Responses byte for byte, however a request is fragmented, and whatever came before it on the connection."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Any, Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import Logger
from twisted.web.resource import IResource, Resource

from multiproto.core.addresses import AddressRules
from multiproto.core.identity import Grant, Identity
from multiproto.core.wiring import AccountServices
from multiproto.graphql.wiring import GraphQLDependencies, make_graphql_resource
from multiproto.http import access_log
from multiproto.http.cors import CorsPolicy
from multiproto.http.wiring import SiteSettings
from multiproto.rfc6455.resource import UpgradeResource
from multiproto.websocket.protocol import WebSocketFactory
from tests.examples import examples

from ..fakes import sequential_ids
from .client import Line
from .dialogues import DIALOGUES, Dialogue
from .sites import SiteCase

PROXY, DIRECT = "10.0.0.%d", "192.168.0.%d"
DEVICE = Identity("dev", "cred", 1000.0, "pump", (Grant("a.*", ("publish",)),))
RULES = AddressRules(deny=(ip_network("203.0.113.0/24"),), trusted_proxies=(ip_network("10.0.0.0/8"),))


class Page(Resource):
    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        request.setHeader(b"Content-Type", b"text/html")
        request.setHeader(b"Content-Security-Policy", b"script-src 'self'")
        return b" ".join([b"page", *request.postpath, *request.args.get(b"q", [])])


class DialogueCase(SiteCase):
    requests = 1000
    settings = SiteSettings(cors=CorsPolicy(allow_localhost=True), address_rules=RULES)

    def setUp(self) -> None:
        super().setUp()
        allows_origin = self.settings.cors.allows_websocket
        self.mounts |= {
            b"/page": Page(),
            b"/ws": self.make_websocket(allows_origin),
            b"/graphql": self.make_graphql(allows_origin),
        }
        self.site = self.make_site()
        self.house.authenticator.identities["dev"] = DEVICE
        self.log: list[dict[str, Any]] = []
        self.patch(access_log, "LOG", Logger(observer=self.log.append))

    def make_websocket(self, allows_origin: Callable[[str], bool]) -> IResource:
        admission = self.house.admission("websocket")
        factory = WebSocketFactory(self.house.hub, admission, self.clock, self.clock.seconds, allows_origin)
        return UpgradeResource(factory)

    def make_graphql(self, allows_origin: Callable[[str], bool]) -> IResource:
        nobody: Any = None  # no operation here asks for rows
        house = self.house
        return make_graphql_resource(
            GraphQLDependencies(
                account_services=AccountServices(nobody, nobody, nobody, nobody, nobody, nobody),
                request_authenticator=house.authenticator,
                messages=nobody,
                publisher=house.publisher,
                hub=house.hub,
                clock=self.clock,
                websocket_admission=house.admission("graphql"),
                subscription_admission=house.admission("graphql_stream"),
                health=nobody,
                allowed_origin=allows_origin,
                on_operation=lambda *what: None,
                count_request=nobody,
            )
        )

    def exchange(self, pieces: list[bytes], host: str) -> tuple[bytes, bool, list[Any], list[Any]]:
        """What is heard, whether the server closes, and what the log and the metrics say, of a new client."""
        self.site._request_limits.by_address._windows.clear()
        self.site._request_limits.by_user._windows.clear()
        self.site.new_id = sequential_ids("correlation")
        self.house.publisher._new_id = sequential_ids("id")
        self.log.clear()
        self.observed.clear()
        line = Line(self.site, host)
        for piece in pieces:
            if not line.closed:
                line.send(piece)
        heard, closed = line.heard(), line.closed
        line.hang_up()
        self.flushLoggedErrors(AttributeError)  # of routes whose rows are not there
        logged = [{name: value for name, value in each.items() if name != "log_time"} for each in self.log]
        return heard, closed, logged, list(self.observed)


class DialogueTests(DialogueCase):
    def test_each(self) -> None:
        for number, row in enumerate(DIALOGUES):
            host = (PROXY if row.by_proxy else DIRECT) % number
            heard, closed, _, _ = self.exchange([row.said.encode("latin-1")], host)
            self.assertEqual((heard.decode("latin-1"), closed), (row.heard, row.closes), row.name)

    def test_names_are_used_once(self) -> None:
        self.assertEqual(len({row.name for row in DIALOGUES}), len(DIALOGUES))


# Connections on which each may follow each: none is closed, and nothing is left unread.
FOLLOWED = [
    row
    for row in DIALOGUES
    if not (row.closes or row.upgrades or row.by_proxy or "events" in row.name or "logins" in row.name)
]
LIVE = re.compile(rb"Ratelimit-Remaining: \d+|correlation\d+|\"id\d+\"")  # what depends on what came before


class SequenceTests(DialogueCase):
    @settings(max_examples=examples(300), deadline=None)
    @given(
        st.lists(st.sampled_from(DIALOGUES), min_size=1, max_size=4),
        st.lists(st.integers(1, 400), max_size=5),
        st.booleans(),
        st.data(),
    )
    def test_pieces_make_no_difference(
        self, rows: list[Dialogue], cuts: list[int], broken: bool, data: st.DataObject
    ) -> None:
        """To the answers, the log or the metrics, whatever is said, even where a byte of it is wrong."""
        stream = bytearray("".join(row.said for row in rows).encode("latin-1"))
        if broken:
            stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
        pieces, at = [], 0
        for cut in [*cuts, len(stream)]:
            pieces.append(bytes(stream[at : at + cut]))
            at += cut
        host = PROXY % 1
        self.assertEqual(self.exchange(pieces, host), self.exchange([bytes(stream)], host))

    @settings(max_examples=examples(300), deadline=None)
    @given(st.lists(st.sampled_from(FOLLOWED), min_size=2, max_size=5), st.sampled_from((b"", b"\r\n")))
    def test_what_came_before_makes_no_difference(self, rows: list[Dialogue], between: bytes) -> None:
        """What is remembered of a head, of its fields or of a path is taken again only for the same."""
        host = DIRECT % 1
        said = [row.said.encode("latin-1") for row in rows]
        apart = b"".join(self.exchange([each], host)[0] for each in said)
        together = self.exchange([between.join(said)], host)[0]
        self.assertEqual(LIVE.sub(b"", together), LIVE.sub(b"", apart))
