"""What the twistd plugin does to a process that has only just begun: which reactor it gets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent.parent


class PluginProcessTests(SynchronousTestCase):
    def test_loading_the_plugin_installs_no_reactor(self) -> None:
        """twistd installs the reactor after it has loaded the plugin and its options."""
        program = "import sys, multiproto.tap; multiproto.tap.Options(); print('twisted.internet.reactor' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, cwd=ROOT, check=True)
        self.assertEqual(done.stdout, b"False\n")

    def test_our_reactor_is_installed_unless_another_one_is(self) -> None:
        make = (
            "from multiproto import tap; options = tap.Options(); options.parseOptions(%r); tap.makeService(options);"
            "from twisted.internet import reactor; print(type(reactor).__module__)"
        )
        ours = "multiproto.reactor.epoll"
        other = "from twisted.internet import selectreactor; selectreactor.install(); "
        shared = ("DATABASE_URL=postgresql://h/d", "REDIS_URL=redis://h", f"JWT_SECRET={'x' * 32}")
        supervisor = ["--workers=2", *(f"--set={each}" for each in shared)]
        for before, more, expected in (
            ("", [], ours),
            ("", supervisor, ours),
            (other, [], "twisted.internet.selectreactor"),
        ):
            options = ["--data-dir", self.mktemp(), *more]
            command = [sys.executable, "-c", before + make % options]
            done = subprocess.run(command, capture_output=True, cwd=ROOT, check=True, text=True)
            self.assertEqual(done.stdout.splitlines()[-1:], [expected], done.stderr)
