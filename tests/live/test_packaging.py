"""The wheel, as a stranger uses it: installed in an empty environment, started in an empty folder.

Migrations and the twistd plugin are found from a wheel in another way than from
a checkout, so only this shows that both work.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.ports import free_ports
from tests.timing import RESCUE

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("multiproto", "sql", "twisted", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md")
JUNK = shutil.ignore_patterns("__pycache__", "*.pyc", "dropin.cache")


class WheelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir()

    def run_pip(self, python: Path | str, *words: str) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        pip = subprocess.run(
            [str(python), "-m", "pip", "--quiet", *words],
            cwd=self.place,
            env=environment,
            capture_output=True,
        )
        self.assertEqual(pip.returncode, 0, pip.stderr.decode())

    def wheel(self) -> Path:
        """Built from a copy, so that nothing of an older build gets in and nothing is left behind."""
        source = self.place / "source"
        source.mkdir()
        for name in SOURCES:
            path = ROOT / name
            if path.is_dir():
                shutil.copytree(path, source / name, ignore=JUNK)
            else:
                shutil.copy(path, source)
        self.run_pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(self.place), str(source))
        (wheel,) = self.place.glob("*.whl")
        self.assert_complete(zipfile.ZipFile(wheel), source)
        shutil.rmtree(source)
        return wheel

    def assert_complete(self, wheel: zipfile.ZipFile, source: Path) -> None:
        expected = {
            str(path.relative_to(source)) for path in source.glob("multiproto/**/*") if path.is_file()
        }
        expected |= {f"multiproto/{path.relative_to(source)}" for path in source.glob("sql/**/*.sql")}
        expected.add("twisted/plugins/multiproto_plugin.py")
        self.assertEqual(expected - set(wheel.namelist()), set())

    def installed(self, wheel: Path) -> Path:
        """The `bin` of a new environment that has the wheel and what it needs."""
        environment = self.place / "venv"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        self.run_pip(environment / "bin" / "python", "install", str(wheel))
        return environment / "bin"

    def test_starts_in_an_empty_folder(self) -> None:
        """It migrates, answers, and stops with all it made in its data directory."""
        programs = self.installed(self.wheel())
        folder = self.place / "empty"
        folder.mkdir()
        http, tcp, metrics = map(str, free_ports(3))
        server = subprocess.Popen(
            [str(programs / "twistd"), "-n", "--pidfile=", "multiproto"],
            cwd=folder,
            env={"PATH": os.environ["PATH"], "PORT": http, "TCP_PORT": tcp, "METRICS_PORT": metrics},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            self.assertEqual(answer_of(f"http://127.0.0.1:{http}/health/ready", server), {"status": "ready"})
            health = answer_of(f"http://127.0.0.1:{metrics}/health", server)
            self.assertEqual(health["dependencies"]["database"]["status"], "up")
        finally:
            server.terminate()
            output, _ = server.communicate(timeout=RESCUE)
        self.assertNotIn("Traceback", output)
        self.assertEqual([each.name for each in folder.iterdir()], ["data"], output)
        self.assertIn("multiproto.db", [each.name for each in (folder / "data").iterdir()])


def answer_of(url: str, server: subprocess.Popen[str]) -> dict[str, object]:
    """What the server says, once it is up."""
    give_up = time.monotonic() + RESCUE
    while time.monotonic() < give_up and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=RESCUE) as answer:
                return dict(json.load(answer))
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    raise AssertionError(f"{url} did not answer")
