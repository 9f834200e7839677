"""Addresses, and which of them count as one client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from multiproto.base.client_network import client_network, parse_address


class AddressTests(SynchronousTestCase):
    def test_spellings(self) -> None:
        shown = {
            "10.0.0.1": "10.0.0.1",
            "::ffff:10.0.0.1": "10.0.0.1",
            "fe80::1%eth0": "fe80::1",
            "2001:DB8:0::1": "2001:db8::1",
            "": "None",
            "example.org": "None",
            "010.0.0.1": "None",
        }
        self.assertEqual({host: str(parse_address(host)) for host in shown}, shown)

    def test_one_client(self) -> None:
        """Counted together: an address of IPv4 however it is written, 64 bits of IPv6, what is no address."""
        shown = {
            "10.0.0.1": "10.0.0.1",
            "::ffff:10.0.0.1": "10.0.0.1",
            "2001:DB8::1": "2001:db8::/64",
            "2001:db8:0:1::1": "2001:db8:0:1::/64",
            "fe80::1%eth0": "fe80::/64",
            "": "",
        }
        self.assertEqual({host: client_network(host) for host in shown}, shown)
