"""What a client says of itself can't speak for anybody else."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from multiproto.core.client_info import MAX_USER_AGENT, ClientInfo, sanitize


class ClientTests(SynchronousTestCase):
    def test_what_browsers_and_tools_say(self) -> None:
        for agent in ("curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"):
            self.assertEqual(ClientInfo("rest", "2001:db8::1", agent).user_agent, agent)

    def test_it_is_cut_at_its_limit(self) -> None:
        self.assertEqual(sanitize("x" * MAX_USER_AGENT), "x" * MAX_USER_AGENT)
        self.assertEqual(sanitize("x" * (MAX_USER_AGENT + 1)), "x" * MAX_USER_AGENT)

    def test_control_characters_are_left_out(self) -> None:
        """Line ends, colours, NUL, and what changes the direction of writing."""
        said = "\0evil\r\n\x1b[31mlevel=info\x85\u2028\u202eagent\x7f\ud800"
        self.assertEqual(sanitize(said), "evil[31mlevel=infoagent")

    def test_nothing_is_none(self) -> None:
        self.assertEqual(ClientInfo("rest", "", "\x00\x07 ").columns(), {"address": None, "client": None})

    @given(st.text())
    def test_one_line_whatever_was_said(self, text: str) -> None:
        said = ClientInfo("rest", text, text).user_agent
        self.assertLessEqual(len(said), MAX_USER_AGENT)
        self.assertEqual(said.splitlines() or [""], [said])
        self.assertTrue(said.isprintable())
        self.assertEqual(json.loads(json.dumps(said)), said)
        said.encode()
