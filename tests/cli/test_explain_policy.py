"""What an operator is told of the rules they wrote."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from multiproto.cli.explain_policy import main


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
            self.told("--user", "ann", "--device", "pump", "publish", "fleet.ann.pump"),
            (0, "yes: A rule lets you publish here (fleet.{user}.{device})\n", ""),
        )
        self.assertEqual(
            self.told("--user", "ann", "publish", "fleet.ann.pump"),
            (1, "no: Topics under fleet are ruled, and no rule lets you publish here\n", ""),
        )

    def test_the_environment_counts_as_for_the_server(self) -> None:
        status, out, _ = self.told("--user", "ann", "publish", "fleet.ann.pump", RULES="[]")
        self.assertEqual((status, out), (0, "yes: No rule is about this topic: it is everybody's\n"))

    def test_no_answer(self) -> None:
        self.assertEqual(self.told("--user", "a", "publish", "a.*"), (2, "", "no topic: 'a.*'\n"))
        self.assertEqual(self.told("--user", "a", "read", "a")[0], 2)
        self.file.write_text('[[rules]]\nmatch = "users"\nallow = []\n', "utf-8")
        status, out, err = self.told("--user", "a", "publish", "a")
        self.assertEqual((status, out), (2, ""))
        self.assertIn("rules neither open nor close", err)
