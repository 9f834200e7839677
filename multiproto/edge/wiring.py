"""Makes the layers between the ports and their protocols: TLS, PROXY headers and rules for addresses."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

from ..config import Config
from .certificate import TlsCertificate
from .listeners import EdgeWrapper


def make_edge_wrapper(config: Config, reactor: Any, now: Callable[[], float]) -> EdgeWrapper:
    """`now` gives seconds since the epoch."""
    settings, certificate = config.edge, None
    if settings.certificate_file:
        certificate = TlsCertificate(Path(settings.certificate_file), Path(settings.key_file), reactor, now)
    return EdgeWrapper(certificate, settings.address_rules, frozenset(settings.proxy_protocol_ports), reactor)
