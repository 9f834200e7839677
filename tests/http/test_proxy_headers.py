"""The address and scheme of a client behind proxies."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Any

from attrs import evolve
from twisted.logger import Logger

from multiproto.core.addresses import AddressRules
from multiproto.http import access_log
from multiproto.http.wiring import SiteSettings

from .client import Line, Response
from .sites import SiteCase

PROXY, OTHER = "10.0.0.1", "192.0.2.99"
HTTPS = "max-age=31536000; includeSubDomains"


def networks(*text: str) -> tuple[Any, ...]:
    return tuple(map(ip_network, text))


class ForwardedCase(SiteCase):
    settings = SiteSettings(
        address_rules=AddressRules(trusted_proxies=networks("10.0.0.0/8", "2001:db8:5::/48"))
    )

    def setUp(self) -> None:
        super().setUp()
        self.log: list[Any] = []
        self.patch(access_log, "LOG", Logger(observer=self.log.append))

    def via(self, *forwarded: str, peer: str = PROXY, **headers: str) -> Response:
        """A request over the proxy `peer`; one header X-Forwarded-For for each of `forwarded`."""
        line = Line(self.site, peer)
        fields = [f"X-Forwarded-For: {each}" for each in forwarded]
        fields += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        lines = ["GET /nowhere HTTP/1.1", "Host: example.org", *fields]
        line.send("\r\n".join(lines).encode() + b"\r\n\r\n")
        answer = line.answer()
        line.hang_up()
        return answer

    def client(self, *forwarded: str, peer: str = PROXY) -> str:
        """As the log has it."""
        self.assertEqual(self.via(*forwarded, peer=peer).status, 404)
        return str(self.log[-1]["client"])


class ClientTests(ForwardedCase):
    def test_the_first_from_the_right_that_is_no_proxy(self) -> None:
        for forwarded, client in (
            ((), PROXY),
            (("192.0.2.1",), "192.0.2.1"),
            (("203.0.113.7, 192.0.2.1",), "192.0.2.1"),  # what stands left of it, anyone can write
            (("unknown, 192.0.2.1",), "192.0.2.1"),
            (("192.0.2.1, 10.0.0.7",), "192.0.2.1"),
            (("192.0.2.1", "10.0.0.7"), "192.0.2.1"),  # several headers are one list
            (("192.0.2.1,,10.0.0.7 ,",), "192.0.2.1"),
            (("10.0.0.8, 10.0.0.7",), "10.0.0.8"),  # nobody but proxies: the first of them
            (("192.0.2.1:40000",), "192.0.2.1"),
            (("2001:DB8:0::1",), "2001:db8::1"),
            (("[2001:db8::1]:40000",), "2001:db8::1"),
            (("[2001:db8::1]",), "2001:db8::1"),
            (("::ffff:192.0.2.1",), "192.0.2.1"),
            (("192.0.2.1, 2001:db8:5::1",), "192.0.2.1"),
        ):
            self.assertEqual(self.client(*forwarded), client, forwarded)

    def test_nobody_else_is_believed(self) -> None:
        for peer in (OTHER, "11.0.0.1", "2001:db8:6::1"):
            self.assertEqual(self.client("192.0.2.1", peer=peer), peer)
            self.assertEqual(self.client("rubbish", peer=peer), peer)

    def test_what_a_proxy_should_not_have_written(self) -> None:
        """Limits would count for somebody else: 400, which the operator will notice."""
        for forwarded in (
            "unknown",
            "192.0.2.1, unknown",
            "192.0.2.256",
            "192.0.2.1:x",
            "[::1",
            "::1]:80",
            "_hidden",
            "1" * 1000,
        ):
            answer = self.via(forwarded)
            self.assertEqual((answer.status, answer.code), (400, 1), forwarded)
        self.assertEqual(self.via("192.0.2.1").status, 404)

    def test_each_request_of_a_connection_has_its_own(self) -> None:
        """And a limit of its own."""
        self.requests = 1
        self.site = self.make_site()
        line, seen = Line(self.site, PROXY), []
        for client in ("192.0.2.1", "192.0.2.2", "192.0.2.1"):
            line.ask("GET", "/nowhere", headers={"X-Forwarded-For": client})
            answer = line.answer()
            seen.append((self.log[-1]["client"], answer.status, answer.headers["ratelimit-remaining"]))
        self.assertEqual(seen, [("192.0.2.1", 404, "0"), ("192.0.2.2", 404, "0"), ("192.0.2.1", 429, "0")])

    def test_a_proxy_may_have_any_number_of_connections(self) -> None:
        self.site = self.make_site(evolve(self.settings, max_connections_per_network=1))
        proxied = [Line(self.site, PROXY) for _ in range(3)]
        others = [Line(self.site, OTHER) for _ in range(2)]
        self.assertEqual([line.heard()[9:12] for line in (*proxied, *others)], [b"", b"", b"", b"", b"503"])


class SchemeTests(ForwardedCase):
    def hsts(self, **headers: str) -> str | None:
        return self.via("192.0.2.1", **headers).headers.get("strict-transport-security")

    def test_what_the_proxy_spoke(self) -> None:
        self.assertEqual(self.hsts(X_Forwarded_Proto="https"), HTTPS)
        self.assertEqual(self.hsts(X_Forwarded_Proto="http, HTTPS"), HTTPS)
        for other in ("http", "https, http", "wss", "", "httpsx"):
            self.assertIsNone(self.hsts(X_Forwarded_Proto=other), other)
        self.assertIsNone(self.hsts())

    def test_others_are_not_believed(self) -> None:
        answer = self.via(peer=OTHER, X_Forwarded_Proto="https")
        self.assertNotIn("strict-transport-security", answer.headers)


class RulesTests(ForwardedCase):
    settings = SiteSettings(
        address_rules=AddressRules(networks("192.0.2.0/24"), networks("192.0.2.66"), networks("10.0.0.0/8"))
    )

    def test_whoever_is_not_wanted_is_told_so(self) -> None:
        for client, status in (
            ("192.0.2.1", 404),
            ("192.0.2.66", 403),
            ("198.51.100.1", 403),
            ("192.0.2.66, 10.0.0.2", 403),
        ):
            self.assertEqual(self.via(client).status, status, client)
        self.assertEqual(self.via("192.0.2.66").code, 5)
        self.assertEqual(self.via(peer="192.0.2.66").status, 403)  # whom the PROXY protocol told of

    def test_on_every_route(self) -> None:
        """Health and upgrades are exempt from limits on requests, not from this."""
        line = Line(self.site, PROXY)
        upgrade = {"Upgrade": "websocket", "Connection": "Upgrade"}
        for target, headers in (("/health/live", {}), ("/", {"Origin": "http://a"}), ("/ws", upgrade)):
            line.ask("GET", target, headers={"X-Forwarded-For": "192.0.2.66", **headers})
            self.assertEqual(line.answer().status, 403, target)

    def test_a_proxy_that_asks_for_itself_is_served(self) -> None:
        """As it does to know whether we are well."""
        self.assertEqual(self.via().status, 404)
