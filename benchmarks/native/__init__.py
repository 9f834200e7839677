"""The C of the benchmarks: built when it is needed, into a directory of the run."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent


class NoCompiler(Exception):
    """There is no C compiler."""


@cache
def built(source: str, *options: str) -> Path:
    """What the compiler makes of a file beside this one.  Raises `NoCompiler`."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise NoCompiler("no C compiler: install gcc")
    made = Path(tempfile.mkdtemp(prefix="bench-native-")) / Path(source).stem
    subprocess.run([compiler, "-O2", *options, str(HERE / source), "-o", str(made)], check=True)
    return made
