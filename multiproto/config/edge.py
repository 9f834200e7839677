"""The settings of the edge: TLS."""

from __future__ import annotations

from attrs import frozen

from . import kinds
from .setting import setting


@frozen
class Edge:
    certificate: str = setting(
        "TLS_CERT_FILE",
        kinds.text,
        "",
        "certificate in PEM, those that vouch for it behind it; with TLS_KEY_FILE, the ports speak TLS",
    )
    key: str = setting("TLS_KEY_FILE", kinds.text, "", "its private key in PEM; SIGHUP reads both anew")
