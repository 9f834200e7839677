"""The commands that operators type, as programs: their names outlive any move of the code behind them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Callable

from twisted.trial.unittest import SynchronousTestCase

from multiproto import __version__
from multiproto.storage.sqlite.data_directory import DataDirectory
from tests.canary import PASSWORD, SECRET
from tests.servers import needs, postgresql

REPOSITORY = Path(__file__).parent.parent.parent
ANN = "01a2055d-524a-7000-a3d1-dfd42086fed8"
RULES = '[{"match": "fleet.{user}.**", "allow": ["publish"]}]'
ROOT = "create", "--email", "root@bücher.example", "--name", "Root", "--operator"


class CommandCase(SynchronousTestCase):
    def run_module(
        self, *arguments: str, folder: Path | None = None, stdin: str = "", **environ: str
    ) -> tuple[int, str, str]:
        """Status, stdout and stderr of `python -m` in `folder`, or in an empty one."""
        folder = folder or Path(self.mktemp())
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environ},
            input=stdin,
            capture_output=True,
            text=True,
        )
        return done.returncode, done.stdout, done.stderr

    def run_user(self, folder: Path, *words: str, stdin: str = "", **environ: str) -> tuple[int, str, str]:
        return self.run_module(
            "multiproto", "user", *words, folder=folder, stdin=stdin, BCRYPT_ROUNDS="4", **environ
        )

    def check_users(self, user: Callable[..., tuple[int, str, str]]) -> str:
        """Make Root, whose id this gives, and try all commands."""
        status, stdout, stderr = user(*ROOT, stdin=f"{PASSWORD}\n", REGISTRATION="closed")
        id = stdout.split()[0]
        said = f"{id} is an account\n{id} is an operator\n"
        self.assertEqual((status, stdout), (0, said), stderr)
        status, stdout, _ = user("operators")
        self.assertEqual((status, stdout.split()[:3]), (0, [id, "root@bücher.example", "since"]))
        status, _, stderr = user(*ROOT, stdin=f"{PASSWORD}\n")
        self.assertEqual((status, stderr), (1, "multiproto: Email already registered\n"))
        status, _, stderr = user(*ROOT, stdin="short\n")
        self.assertEqual(status, 1)
        self.assertIn("multiproto: password: ", stderr)
        secret = Path(self.mktemp()).absolute()
        secret.write_text(f"{PASSWORD}\r\nnot this\n")
        ann = "create", "--email", "ann@example.org", "--name", "Ann", "--password-file", str(secret)
        status, stdout, stderr = user(*ann)
        self.assertEqual((status, stdout.partition(" ")[2]), (0, "is an account\n"), stderr)
        for given, why in (
            ((*ann[:-1], "/nope"), "--password-file /nope: No such file or directory; nothing was done"),
            (ann, "the password is not UTF-8; nothing was done"),
        ):
            secret.write_bytes(b"\xff\n")
            self.assertEqual(user(*given), (2, "", f"multiproto: {why}\n"))
        # By each spelling of its domain.
        root = "root@XN--bcher-kva.example"
        for said in (
            f"{root} is an operator no longer, unless OPERATORS names it\n",
            f"{root} was not made an operator by a command: nothing was done\n",
        ):
            self.assertEqual(user("revoke", root), (0, said, ""))
        self.assertEqual(user("operators"), (0, "", ""))
        for nothing in ("", "\n", "\r\nnot this\n"):
            status, stdout, stderr = user(*ann[:-2], stdin=nothing)
            self.assertEqual((status, stdout, len(stderr.splitlines())), (2, "", 1), stderr)
            self.assertTrue(stderr.startswith("multiproto: no password was given: "))
        nobody = id[:-1] + ("1" if id[-1] == "0" else "0")
        for command in ("grant", "revoke"):
            for who, why in (
                ("nobody@example.org", "no account has the address nobody@example.org"),
                (nobody, f"no account has the id {nobody}"),
                ("Root", "'Root' is neither the mailbox address of an account nor its id, a UUID"),
            ):
                self.assertEqual(user(command, who), (1, "", f"multiproto: {why}\n"))
        return id

    def check_explained(self, explain: Callable[..., tuple[int, str, str]], id: str) -> None:
        """Root is named by an address; then somebody whom nobody knows."""
        topic = f"fleet.{id}.pump"
        for root in ("root@bücher.example", "ROOT@xn--bcher-kva.example"):
            status, stdout, stderr = explain("--user", root, "publish", topic)
            self.assertEqual(
                (status, stdout[:4], stdout.splitlines()[1:]), (0, "yes:", [f"{root} is {id}"]), stderr
            )
        self.assertEqual(
            explain("--user", "eve@example.org", "publish", topic),
            (2, "", "--user: no account has the address eve@example.org\n"),
        )


class CommandTests(CommandCase):
    def test_explain(self) -> None:
        arguments = ("multiproto.explain", "--user", ANN, "publish")
        for topic, status, answer in ((f"fleet.{ANN}.pump", 0, "yes"), ("fleet.bob.pump", 1, "no")):
            found = self.run_module(*arguments, topic, RULES=RULES)
            self.assertEqual((found[0], found[1].partition(":")[0]), (status, answer), found)

    def test_all_by_one_name(self) -> None:
        """`python -m multiproto` lists them, and each is the module that has its name, with its status."""
        status, usage, _ = self.run_module("multiproto")
        self.assertEqual(status, 0)
        for command, does in (
            ("check-config", "--config"),
            ("check-data", "exit status"),
            ("explain", "--device"),
            ("move", "--to"),
            ("user", "operators"),
        ):
            self.assertIn(f"  {command} ", usage)
            status, stdout, stderr = self.run_module("multiproto", command, "--help")
            self.assertEqual((status, does in stdout), (0, True), stderr)
        status, _, stderr = self.run_module("multiproto", "check")
        self.assertEqual((status, stderr.count("the nearest is check-data")), (2, 1))
        status, _, stderr = self.run_module("multiproto", "nope")
        self.assertEqual((status, stderr.splitlines()[0]), (2, "python -m multiproto: nope is no command"))
        self.assertEqual(self.run_module("multiproto", "explain", "--user", ANN, "publish", "a.*")[0], 2)

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
        self.assertIn(
            "python -m multiproto.move: error: one of the arguments --to --in-place --undo is required",
            stderr,
        )
        status, _, stderr = self.run_module(
            "multiproto.move", "--from", "nowhere", "--to", "postgresql://x/y"
        )
        self.assertEqual(status, 1)
        self.assertTrue(stderr.startswith("multiproto: "), stderr)

    def test_move_to_no_address(self) -> None:
        """No directory is made of it, and no password is shown."""
        folder = Path(self.mktemp())
        good = "postgresql://localhost/x"
        for option, bad in (
            ("--from", "postgresql://ada:s3cret%zz@[::1/x"),
            ("--to", "mysql://ada:s3cret@h/x"),
        ):
            stores = {"--from": good, "--to": good, option: bad}
            arguments = [word for each in stores.items() for word in each]
            status, _, stderr = self.run_module("multiproto", "move", *arguments, folder=folder)
            self.assertEqual(status, 2)
            self.assertIn(
                f"error: argument {option}: must be an address such as postgresql://user:password@host:5432/name, "
                "or a data directory\n",
                stderr,
            )
            self.assertNotIn("s3cret", stderr)
        self.assertEqual(list(folder.iterdir()), [])

    def test_users_and_operators(self) -> None:
        folder = Path(self.mktemp())
        id = self.check_users(lambda *words, **given: self.run_user(folder, *words, **given))
        self.run_user(folder, "grant", id)
        # A server that runs does not mind.
        self.addCleanup(DataDirectory.acquire(folder / "data").release)
        status, stdout, stderr = self.run_user(folder, "operators")
        self.assertEqual((status, stdout.split()[:1]), (0, [id]), stderr)
        self.check_explained(
            lambda *words: self.run_module("multiproto", "explain", *words, folder=folder, RULES=RULES), id
        )

    def test_a_password_is_no_argument(self) -> None:
        """Nor is any other value shown that somebody takes for its place."""
        for words, why in (
            (("create", "--password", PASSWORD), "a password can't be an argument, which others"),
            (("create", f"--password={PASSWORD}"), "a password can't be an argument, which others"),
            (("--password", PASSWORD, *ROOT), "a password can't be an argument, which others"),
            ((*ROOT, "--password"), "a password can't be an argument, which others"),
            ((*ROOT, "--passwd", PASSWORD), "no such option: --passwd"),
            ((*ROOT, f"--passwd={PASSWORD}"), "no such option: --passwd"),
            ((*ROOT, "--pass", PASSWORD), "no such option: --pass"),
            ((*ROOT, PASSWORD), "more words than it takes"),
            (("--passwd", PASSWORD, *ROOT), "argument COMMAND: must be one of 'create', "),
            ((*ROOT, f"--operator={PASSWORD}"), "argument --operator: takes no value"),
        ):
            status, stdout, stderr = self.run_module("multiproto", "user", *words)
            self.assertEqual((status, stdout), (2, ""))
            self.assertIn(why, stderr)
            self.assertNotIn(PASSWORD, stderr)

    def test_versions(self) -> None:
        self.assertEqual(self.run_module("multiproto", "--version"), (0, f"multiproto {__version__}\n", ""))
        for command in ("check-config", "check-data"):
            status, stdout, _ = self.run_module("multiproto", command, "--version")
            self.assertEqual((status, stdout.partition(",")[0]), (0, f"multiproto {__version__}"))

    def test_options_of_the_server_are_exact(self) -> None:
        for words, why in (
            (("--port", "3000", "-p", "4000"), "--port is given twice"),
            (("--config", "a.toml", "--config=b.toml"), "--config is given twice"),
            (("--tcp-por", "3000"), "--tcp-por is no option; the nearest is --tcp-port"),
            (("--da=x",), "--da is no option; the nearest is --data-dir"),
            (("PORT=1",), "no word stands without an option: a setting is given as --set NAME=VALUE"),
        ):
            for command in ("check-config", "check-data"):
                status, stdout, stderr = self.run_module("multiproto", command, *words)
                self.assertEqual(status, 2)
                self.assertIn(f"{why}; see --help", stdout + stderr)

    def test_the_help_teaches(self) -> None:
        for words, taught in (
            ((), ("examples:", "exit status", "stop the\nserver first")),
            (("create",), ("--password-file FILE", "It can't be an argument", "--operator")),
        ):
            status, stdout, _ = self.run_module("multiproto", "user", *words, "--help")
            self.assertEqual((status, [each for each in taught if each not in stdout]), (0, []))
        status, _, stderr = self.run_module("multiproto", "user")
        self.assertEqual(status, 2)
        self.assertIn(
            "python -m multiproto user: error: the following arguments are required: COMMAND", stderr
        )

    def test_in_the_wrong_folder(self) -> None:
        """No database is made there by asking for what is in one."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for words in (("grant", "ann@example.org"), ("revoke", "ann@example.org"), ("operators",)):
            status, stdout, stderr = self.run_user(folder, *words)
            self.assertEqual((status, stdout), (1, ""))
            self.assertIn(f"there is no database in {folder}/data: name the server's DATA_DIR", stderr)
        self.assertEqual(list(folder.iterdir()), [])

    def test_a_database_that_is_in_use(self) -> None:
        """The embedded one belongs to one process; and what is said tells whose it is."""
        folder = Path(self.mktemp())
        self.addCleanup(DataDirectory.acquire(folder / "data").release)
        status, _, stderr = self.run_user(folder, *ROOT, stdin=f"{PASSWORD}\n")
        self.assertEqual(status, 1)
        self.assertRegex(
            stderr, "^multiproto: data directory .*data is in use by another multiproto: stop that first\n$"
        )


@needs("postgresql")
class PostgresqlCommandTests(CommandCase):
    """The same on the other store, with the older name of the command."""

    def run_user(self, folder: Path, *words: str, **given: str) -> tuple[int, str, str]:
        stdin = given.pop("stdin", "")
        given |= {"DATABASE_URL": self.database, "JWT_SECRET": SECRET, "BCRYPT_ROUNDS": "4"}
        return self.run_module("multiproto.accounts", *words, folder=folder, stdin=stdin, **given)

    def setUp(self) -> None:
        self.database = postgresql().new_database()
        self.addCleanup(postgresql().drop, self.database)

    def test_users_and_operators(self) -> None:
        folder = Path(self.mktemp())
        id = self.check_users(lambda *words, **given: self.run_user(folder, *words, **given))
        given = {"DATABASE_URL": self.database, "JWT_SECRET": SECRET, "RULES": RULES}
        self.check_explained(
            lambda *words: self.run_module("multiproto", "explain", *words, folder=folder, **given), id
        )
