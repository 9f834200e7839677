"""What an operator is told of damage to the stored data."""

from __future__ import annotations

import io
import sqlite3
from contextlib import redirect_stderr, redirect_stdout

from multiproto.cli.check_data import main
from multiproto.storage.sqlite.store import DATABASE_FILE
from tests.storage.sqlite.test_damage import (
    COUNT,
    PRIVATE,
    DamageCase,
    alter_texts,
    spoil_json,
    spoil_text,
    wreck,
)


class CheckDataTests(DamageCase):
    def check(self, *arguments: str) -> tuple[int, list[str]]:
        """The exit status, and the lines."""
        with redirect_stdout(io.StringIO()) as out, redirect_stderr(out):
            status = main(("--data-dir", str(self.directory), *arguments), {}, self.directory)
        self.assertNotIn(PRIVATE, out.getvalue())
        return status, out.getvalue().splitlines()

    async def test_no_damage_beside_a_server(self) -> None:
        await self.damage(lambda content: None)
        await self.make_store()
        status, lines = self.check()
        self.assertEqual((status, len(lines)), (0, 1))
        self.assertRegex(lines[0], rf"^6\d\d rows in \d+ tables of {self.directory}: no damage found$")

    async def test_single_letters(self) -> None:
        def spoil(content: bytearray) -> None:
            spoil_text(content)
            spoil_json(content)

        await self.damage(spoil, checksums=False)
        status, lines = self.check()
        self.assertEqual(status, 1)
        for line in (
            "damaged: events, row 101: content is no JSON",
            "damaged: messages, row 101: content is not UTF-8",
        ):
            self.assertIn(line, lines)
        self.assertEqual(lines[-1].rpartition(": ")[2], f"{len(lines) - 1} damaged")

    async def test_texts_that_are_others(self) -> None:
        await self.damage(alter_texts)
        status, lines = self.check()
        self.assertEqual(status, 1)
        self.assertEqual(
            lines[:-1],
            [
                "damaged: events, row 101: is not as its checksum says",
                "damaged: messages, row 101: is not as its checksum says",
                "damaged: users, row 1: is not as its checksum says",
            ],
        )

    async def test_a_page_that_is_no_page(self) -> None:
        await self.damage(wreck)
        status, lines = self.check()
        self.assertEqual(status, 1)
        self.assertTrue(any(line.startswith("damaged: messages: what follows row ") for line in lines), lines)
        self.assertFalse([line for line in lines if line.startswith("damaged: events")])

    async def test_a_row_that_refers_to_none(self) -> None:
        await self.damage(lambda content: None)
        other = sqlite3.connect(self.directory / DATABASE_FILE)
        other.execute("DELETE FROM users")  # foreign keys are off in other programs
        other.commit()
        other.close()
        status, lines = self.check()
        self.assertEqual((status, len(lines)), (1, COUNT + 1))
        self.assertEqual(lines[0], "damaged: messages, row 1: refers to a row of users that is not there")

    def test_what_is_no_database(self) -> None:
        status, lines = self.check()
        self.assertEqual((status, len(lines)), (2, 1))
        self.assertIn("is not there: name the server's directory with --data-dir", lines[0])
        self.directory.mkdir()
        (self.directory / DATABASE_FILE).write_bytes(b"words " * 1000)
        status, lines = self.check()
        self.assertEqual((status, lines[0].rpartition(": ")[2]), (2, "file is not a database"))

    def test_mistakes(self) -> None:
        for mistake in (("--set", "PORT=x"), ("--nonsense",)):
            status, lines = self.check(*mistake)
            self.assertEqual((status, lines[0].partition(": ")[0]), (2, "multiproto"), lines)
