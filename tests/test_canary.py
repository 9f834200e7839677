"""That a secret is found wherever it is told, and what is handed out on purpose is not taken for a leak."""

from __future__ import annotations

import json

from twisted.logger import Logger
from twisted.trial.unittest import SynchronousTestCase

from . import canary
from .canary import CANARY, PASSWORD, Leak
from .run import has_secret

TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJ1c2VySWQiOiIxIn0.c2lnbmF0dXJlc2lnbmF0dXJlc2ln"
CREDENTIAL = "mpd_" + "a2" * 32
REFRESH = "r" * 43
HASH = "$2b$04$" + "x" * 53


class CanaryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(canary, "leaks", [])
        self.patch(canary, "issued", set())

    def found(self) -> list[str]:
        """The kinds of secrets that were found, and trial was told of each time."""
        leaks = [str(leak) for leak in canary.leaks]
        self.assertEqual([str(error.value) for error in self.flushLoggedErrors(Leak)], leaks)
        canary.leaks.clear()
        return [leak.partition(": ")[2].partition(" in ")[0] for leak in leaks]

    def test_each_kind_is_known(self) -> None:
        for text, kind in (
            (f"the password is {PASSWORD}", "chosen"),
            (f'{{"Authorization":"Bearer {TOKEN}"}}', "token"),
            (f"{CREDENTIAL}x", "credential"),
            (f"Failing row contains (1, {HASH}).", "hash"),
            ("-----BEGIN EC PRIVATE KEY-----", "key"),
        ):
            canary.look("here", text)
            self.assertEqual(self.found(), [kind])
            self.assertTrue(has_secret(text), kind)
        canary.look("here", "listening on 127.0.0.1:3001 eyJ.eyJ mpd_ $2b$")
        self.assertEqual(self.found(), [])

    def test_it_is_not_repeated(self) -> None:
        canary.look("here", f"{TOKEN} {CREDENTIAL} {CANARY}")
        [leak] = canary.leaks
        self.assertEqual(str(leak), "here: chosen, credential, token in [token] [credential] [chosen]")
        self.found()

    def test_what_a_server_hands_out_is_no_leak_there_and_is_one_elsewhere(self) -> None:
        login = {"success": True, "data": {"user": {"id": "1"}, "token": TOKEN, "refreshToken": REFRESH}}
        for spaces in ((",", ":"), (", ", ": ")):
            canary.answered("login", json.dumps(login, separators=spaces))
        self.assertEqual(self.found(), [])
        canary.look("log", f"refreshed by {REFRESH}")
        canary.look("log", f"refreshed by {REFRESH}x, which is another")
        self.assertEqual(self.found(), ["issued"])

    def test_an_error_hands_nothing_out(self) -> None:
        for answer in ({"success": False, "token": TOKEN}, {"errors": [], "token": TOKEN}):
            canary.answered("login", json.dumps(answer, separators=(",", ":")))
            self.assertEqual(self.found(), ["token"])

    def test_an_answer_that_tells_another_secret(self) -> None:
        canary.answered("user", json.dumps({"success": True, "data": {"password": PASSWORD, "token": TOKEN}}))
        self.assertEqual(self.found(), ["chosen"])

    def test_what_is_logged_at_any_level(self) -> None:
        log = Logger(observer=canary.observe)
        log.debug("{what} came", what=PASSWORD)
        self.assertEqual(set(self.found()), {"chosen"})
        log.debug("something came", what=TOKEN)
        self.assertEqual(set(self.found()), {"token"})
        log.debug("somebody came", password=PASSWORD)  # a field that our observers do not write
        self.assertEqual(self.found(), [])

    def test_what_a_traceback_says(self) -> None:
        try:
            raise KeyError(PASSWORD)
        except KeyError:
            Logger(observer=canary.observe).failure("broken")
        self.assertEqual(set(self.found()), {"chosen"})
