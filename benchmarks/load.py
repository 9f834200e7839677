"""The load generator as Python calls it: sockets in, a `Lap` out.  See native/load.c for what it does."""

from __future__ import annotations

import ctypes
import socket
import time
from ctypes import POINTER, Structure, byref, c_char_p, c_double, c_float, c_int, c_long, c_ubyte
from functools import cache
from typing import Any, Callable, Sequence

from attrs import evolve, frozen

from .contender import Contender
from .figures import Lap, percentile
from .native import built

KEPT = 200_000  # latencies of one lap at most
STAMP = b"@@00000000"


class Report(Structure):
    _fields_ = [
        ("seconds", c_double),
        ("done", c_long),
        ("faults", c_long),
        ("latency", POINTER(c_float)),
        ("kept", c_long),
        ("room", c_long),
    ]


class CFrame(Structure):
    _fields_ = [("bytes", c_char_p), ("length", c_int), ("stamp_at", c_int), ("pad", c_ubyte * 8)]


class CRequest(Structure):
    _fields_ = [("bytes", c_char_p), ("length", c_int), ("expected", c_char_p)]


@frozen
class Frame:
    """What one peer says again and again; `plain` is the payload, the stamp in it, and `mask` its mask's key."""

    before: bytes
    plain: bytes
    mask: bytes = bytes(4)

    @property
    def wire(self) -> bytes:
        return self.before + masked(self.plain, self.mask)

    def native(self) -> CFrame:
        at = self.plain.find(STAMP)
        if at < 0:
            return CFrame(self.wire, len(self.wire), -1, (c_ubyte * 8)())
        pad = [self.mask[(at + 2 + each) % 4] for each in range(8)]
        return CFrame(self.wire, len(self.wire), len(self.before) + at + 2, (c_ubyte * 8)(*pad))


@frozen
class Request:
    wire: bytes
    expected: bytes  # words in the answer's body


def masked(plain: bytes, key: bytes) -> bytes:
    return bytes(each ^ key[at % 4] for at, each in enumerate(plain))


class Wrong(Exception):
    """Something was lost, out of order, or not what was asked for: the figures count as nothing."""


@cache
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(built("load_http.c", "-shared", "-fPIC")))


def http(
    of: Contender,
    fds: Sequence[socket.socket],
    requests: Sequence[Request],
    seconds: float,
    depth: int = 1,
    status: int = 200,
) -> Lap:
    """Every connection asks for one after the other, `depth` at a time."""
    native = (CRequest * len(requests))(
        *(CRequest(each.wire, len(each.wire), each.expected) for each in requests)
    )
    many = len(requests), depth, status, c_double(seconds)
    return _lap(of, lambda report: library().http(report, *_descriptors(fds), native, *many))


def fanout(
    of: Contender,
    publisher: socket.socket,
    fds: Sequence[socket.socket],
    frame: Frame,
    window: int,
    seconds: float,
) -> Lap:
    """Operations are deliveries."""
    native, window_and_time = frame.native(), (window, c_double(seconds))
    return _lap(
        of,
        lambda report: library().fanout(
            report, publisher.fileno(), *_descriptors(fds), byref(native), *window_and_time
        ),
    )


def ingest(of: Contender, fds: Sequence[socket.socket], frame: Frame, last: Frame, seconds: float) -> Lap:
    native, final = frame.native(), last.native()
    return _lap(
        of,
        lambda report: library().ingest(
            report, *_descriptors(fds), byref(native), byref(final), c_double(seconds)
        ),
    )


def echo(
    of: Contender, fds: Sequence[socket.socket], frame: Frame, seconds: float, answer: bytes = b""
) -> Lap:
    """`answer`, for a frame without a stamp, is what tells that it was answered."""
    native = frame.native()
    return _lap(
        of,
        lambda report: library().echo(report, *_descriptors(fds), byref(native), answer, c_double(seconds)),
    )


def _descriptors(fds: Sequence[socket.socket]) -> tuple[Any, int]:
    return (c_int * len(fds))(*(each.fileno() for each in fds)), len(fds)


def _lap(of: Contender, run: Callable[[Any], object]) -> Lap:
    latency = (c_float * KEPT)()
    report = Report(latency=latency, room=KEPT)

    def counted() -> tuple[int, int]:
        run(byref(report))
        return report.done, report.faults

    lap = timed(of, counted)
    kept = sorted(latency[: report.kept])
    return evolve(lap, rate=report.done / report.seconds, p50=percentile(kept, 50), p99=percentile(kept, 99))


def timed(of: Contender, run: Callable[[], tuple[int, int]]) -> Lap:
    """What `run` cost the server and this process; it gives what was done, and what was wrong.  Raises `Wrong`."""
    server, own, begun = of.cpu(), time.process_time(), time.perf_counter()
    done, faults = run()
    took = time.perf_counter() - begun
    server, own = of.cpu() - server, time.process_time() - own
    if faults or not done:
        raise Wrong(f"{of.name}: {faults} of {done + faults} lost, wrong or out of order")
    return Lap(
        rate=done / took,
        cpu=server / done * 1e6,
        done=done,
        p50=0.0,
        p99=0.0,
        server=server / took,
        generator=own / took,
    )
