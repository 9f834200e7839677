"""What an operator is told of the rules they wrote."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from multiproto.cli.explain_policy import main

ANN = "01a2055d-524a-7000-a3d1-dfd42086fed8"


class ExplainTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp())
        self.file.write_text('[[rules]]\nmatch = "fleet.{user}.{device}"\nallow = ["publish"]\n', "utf-8")

    def told(self, *arguments: str, **environ: str) -> tuple[int, str, str]:
        """The status, and what was said on stdout and on stderr."""
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
            try:
                status = main(["--config", str(self.file), *arguments], environ)
            except SystemExit as end:
                status = int(end.code or 0)
        return status, out.getvalue(), err.getvalue()

    def test_yes_and_no(self) -> None:
        self.assertEqual(
            self.told("--user", ANN, "--device", "pump", "publish", f"fleet.{ANN}.pump"),
            (0, "yes: A rule lets you publish here (fleet.{user}.{device})\n", ""),
        )
        self.assertEqual(
            self.told("--user", ANN, "publish", f"fleet.{ANN}.pump"),
            (1, "no: Topics under fleet are ruled, and no rule lets you publish here\n", ""),
        )

    def test_the_environment_counts_as_for_the_server(self) -> None:
        status, out, _ = self.told("--user", ANN, "publish", f"fleet.{ANN}.pump", RULES="[]")
        self.assertEqual((status, out), (0, "yes: No rule is about this topic: it is everybody's\n"))

    def test_a_setting_that_is_ignored(self) -> None:
        status, out, err = self.told("--user", ANN, "publish", "a", RULE="[]", RULES_="x")
        self.assertEqual((status, out[:4]), (0, "yes:"))
        self.assertEqual(err[:46], "warning: RULES_ (environment) is no setting, a")

    def test_an_id_in_any_case(self) -> None:
        self.assertEqual(
            self.told("--user", ANN.upper(), "--device", "pump", "publish", f"fleet.{ANN}.pump"),
            (
                0,
                f"yes: A rule lets you publish here (fleet.{{user}}.{{device}})\n{ANN.upper()} is {ANN}\n",
                "",
            ),
        )

    def test_nobody(self) -> None:
        """What names no account is not answered as for somebody without rights."""
        nowhere = Path(self.mktemp()).absolute()
        for user, why in (
            ("Ann", "--user: 'Ann' is neither the mailbox address of an account nor its id, a UUID"),
            (
                ANN[:-1],
                f"--user: '{ANN[:-1]}' is neither the mailbox address of an account nor its id, a UUID",
            ),
            (
                "ann@example.org",
                f"there is no database in {nowhere}: name the server's DATA_DIR by --data-dir",
            ),
        ):
            arguments = ("--data-dir", str(nowhere), "--user", user, "publish", "fleet.a.b")
            self.assertEqual(self.told(*arguments), (2, "", f"{why}\n"))
        self.assertFalse(nowhere.exists())

    def test_no_answer(self) -> None:
        self.assertEqual(self.told("--user", ANN, "publish", "a.*"), (2, "", "no topic: 'a.*'\n"))
        self.assertEqual(self.told("--user", ANN, "read", "a")[0], 2)
        self.file.write_text('[[rules]]\nmatch = "users"\nallow = []\n', "utf-8")
        status, out, err = self.told("--user", ANN, "publish", "a")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("rules neither open nor close", err)
