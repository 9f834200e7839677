"""The data directory and its lock."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from multiproto.storage.errors import StoreUnusable
from multiproto.storage.sqlite.data_directory import DataDirectory


class DataDirectoryTests(SynchronousTestCase):
    def test_it_is_made_with_its_parents_for_the_owner_only(self) -> None:
        path = Path(self.mktemp()) / "deep" / "data"
        self.addCleanup(DataDirectory.acquire(path).release)
        self.assertEqual(path.stat().st_mode & 0o777, 0o700)

    def test_one_that_is_there_keeps_its_mode(self) -> None:
        path = Path(self.mktemp())
        path.mkdir(mode=0o750)
        self.addCleanup(DataDirectory.acquire(path).release)
        self.assertEqual(path.stat().st_mode & 0o777, 0o750)

    def test_it_is_for_one_at_a_time(self) -> None:
        path = Path(self.mktemp())
        first = DataDirectory.acquire(path)
        with self.assertRaisesRegex(StoreUnusable, f"^data directory {path} is in use by another"):
            DataDirectory.acquire(path)
        first.release()
        DataDirectory.acquire(path).release()

    def test_one_that_cannot_be_is_named_with_the_reason(self) -> None:
        path = Path(self.mktemp())
        path.write_text("in the way")
        with self.assertRaisesRegex(StoreUnusable, f"^data directory {path} can't be used: File exists"):
            DataDirectory.acquire(path)

    def test_a_file_that_cannot_be_is_named_with_the_reason(self) -> None:
        data = DataDirectory.acquire(Path(self.mktemp()))
        self.addCleanup(data.release)
        (data.path / "x.db").mkdir()
        with self.assertRaisesRegex(StoreUnusable, "x.db can't be written: Is a directory"):
            data.create_file("x.db")
