"""The commands that operators type, as programs: their names outlive any move of the code behind them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent.parent


class CommandTests(SynchronousTestCase):
    def run_module(
        self, *arguments: str, folder: Path | None = None, stdin: str = "", **environ: str
    ) -> tuple[int, str, str]:
        """Status, stdout and stderr of `python -m` in `folder`, or in an empty one."""
        folder = folder or Path(self.mktemp())
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environ},
            input=stdin,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    def test_explain(self) -> None:
        rules = '[{"match": "fleet.{user}.**", "allow": ["publish"]}]'
        arguments = ("multiproto.explain", "--user", "ann", "publish")
        for topic, status, answer in (("fleet.ann.pump", 0, "yes"), ("fleet.bob.pump", 1, "no")):
            found = self.run_module(*arguments, topic, RULES=rules)
            self.assertEqual((found[0], found[1].partition(":")[0]), (status, answer), found)

    def test_all_by_one_name(self) -> None:
        """`python -m multiproto` lists them, and each is the module that has its name, with its status."""
        status, usage, _ = self.run_module("multiproto")
        self.assertEqual(status, 0)
        for command, does in (
            ("check-config", "--config"),
            ("explain", "--device"),
            ("move", "--to"),
            ("user", "operators"),
        ):
            self.assertIn(f"  {command} ", usage)
            status, stdout, stderr = self.run_module("multiproto", command, "--help")
            self.assertEqual((status, does in stdout), (0, True), stderr)
        status, _, stderr = self.run_module("multiproto", "check")
        self.assertEqual((status, stderr.count("the nearest is check-config")), (2, 1))
        self.assertEqual(self.run_module("multiproto", "explain", "--user", "ann", "publish", "a.*")[0], 2)

    def test_check_config(self) -> None:
        for module in (("multiproto", "check-config"), ("multiproto.check_config",)):
            status, stdout, _ = self.run_module(*module, PORT="x")
            self.assertEqual((status, stdout.splitlines()[0].split(" (")[0]), (2, "error: PORT"))
            self.assertEqual(self.run_module(*module)[0], 0)
            self.assertEqual(self.run_module(*module, "--env", "production")[0], 1)

    def test_move(self) -> None:
        """It names what is missing, and itself as it was typed."""
        status, _, stderr = self.run_module("multiproto.move")
        self.assertEqual(status, 2)
        self.assertIn("python -m multiproto.move: error: the following arguments are required: --to", stderr)
        status, _, stderr = self.run_module(
            "multiproto.move", "--from", "nowhere", "--to", "postgresql://x/y"
        )
        self.assertEqual(status, 1)
        self.assertTrue(stderr.startswith("multiproto: "), stderr)

    def test_users_and_operators(self) -> None:
        folder = Path(self.mktemp())

        def user(*arguments: str, stdin: str = "") -> tuple[int, str, str]:
            return self.run_module(
                "multiproto.accounts", *arguments, folder=folder, stdin=stdin, BCRYPT_ROUNDS="4"
            )

        made = "create", "--email", "root@example.org", "--name", "Root", "--operator"
        status, stdout, stderr = user(*made, stdin="Passw0rd!\n")
        self.assertEqual((status, stdout.partition(" ")[2]), (0, "is an operator\n"), stderr)
        status, stdout, _ = user("operators")
        self.assertEqual((status, stdout.split()[1:3]), (0, ["root@example.org", "since"]))
        status, _, stderr = user(*made, stdin="Passw0rd!\n")
        self.assertEqual((status, stderr), (1, "multiproto: Email already registered\n"))
        status, _, stderr = user(*made, stdin="short\n")
        self.assertEqual(status, 1)
        self.assertIn("multiproto: password: ", stderr)
        self.assertEqual(user("revoke", "root@example.org")[0], 0)
        self.assertEqual(user("operators"), (0, "", ""))
        self.assertEqual(user("grant", "nobody@example.org")[0], 1)
