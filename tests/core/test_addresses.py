"""The networks that addresses are in."""

from __future__ import annotations

from ipaddress import ip_network

from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.addresses import AddressRules


def rules(allow: str = "", deny: str = "", proxies: str = "") -> AddressRules:
    return AddressRules(*(tuple(map(ip_network, each.split())) for each in (allow, deny, proxies)))


class RulesTests(SynchronousTestCase):
    def admitted(self, rules: AddressRules, *hosts: str) -> list[bool]:
        return [rules.is_allowed(host) for host in hosts]

    def test_without_any_all_come_in_and_nobody_is_a_proxy(self) -> None:
        self.assertEqual(self.admitted(rules(), "10.0.0.1", "::1", ""), [True, True, True])
        self.assertFalse(rules().is_trusted_proxy("127.0.0.1"))

    def test_allow_is_to_the_address(self) -> None:
        some = rules(allow="10.0.0.0/31 2001:db8::/64")
        self.assertEqual(self.admitted(some, "10.0.0.1", "10.0.0.2", "9.255.255.255"), [True, False, False])
        self.assertEqual(
            self.admitted(some, "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::"), [True, False]
        )

    def test_deny_wins(self) -> None:
        some = rules(allow="10.0.0.0/8", deny="10.1.0.0/16", proxies="10.1.0.1")
        self.assertEqual(self.admitted(some, "10.0.0.1", "10.1.2.3", "10.1.0.1"), [True, False, False])
        self.assertEqual(self.admitted(rules(deny="10.0.0.1"), "10.0.0.1", "10.0.0.2"), [False, True])

    def test_proxies_need_not_be_allowed(self) -> None:
        self.assertEqual(
            self.admitted(rules(allow="10.0.0.0/8", proxies="192.0.2.1"), "192.0.2.1", "192.0.2.2"),
            [True, False],
        )

    def test_loopback_is_like_every_other(self) -> None:
        self.assertEqual(self.admitted(rules(allow="10.0.0.0/8"), "127.0.0.1"), [False])

    def test_ipv4_in_the_clothes_of_ipv6(self) -> None:
        """As a socket for both sees it."""
        some = rules(deny="10.0.0.0/8", proxies="192.0.2.1")
        self.assertFalse(some.is_allowed("::ffff:10.0.0.1"))
        self.assertTrue(some.is_trusted_proxy("::ffff:192.0.2.1"))

    def test_what_has_no_address_is_in_no_network(self) -> None:
        self.assertEqual(self.admitted(rules(deny="0.0.0.0/0 ::/0"), ""), [True])
        self.assertEqual(self.admitted(rules(allow="0.0.0.0/0 ::/0"), ""), [False])
