"""What `/stats` says: the plain counters, in the contract's spelling (section 2, end)."""

from __future__ import annotations

from typing import Any

from .metrics import Metrics
from .moments import timestamp
from .traffic import SUCCESS, Traffic


def stats(metrics: Metrics, now: float) -> dict[str, Any]:
    """Everything at the moment `now`, in seconds since the epoch."""
    handled: dict[str, int] = {}
    for (event_type, _status), count in metrics.events_handled.totals().items():
        handled[event_type] = handled.get(event_type, 0) + int(count)
    emitted = {event_type: int(count) for (event_type,), count in metrics.events_emitted.totals().items()}
    return {
        "timestamp": timestamp(now),
        "protocols": {
            traffic.protocol: {"connections": _connections(traffic, now), "messages": _messages(traffic)}
            for traffic in metrics.wires
        },
        "events": {"emitted": emitted, "handled": handled},
    }


def _connections(traffic: Traffic, now: float) -> dict[str, Any]:
    return {
        "activeConnections": traffic.active,
        "connectionsByIp": dict(traffic.by_host),
        "authenticatedConnections": traffic.authenticated,
        "totalSubscriptions": traffic.subscriptions,
        "messagesSent": traffic.messages_sent,
        "messagesReceived": traffic.messages_received,
        "errors": traffic.errors,
        "startedAt": timestamp(traffic.started_at),
        "uptime": round((now - traffic.started_at) * 1000),  # ms
    }


def _messages(traffic: Traffic) -> dict[str, int]:
    successes = traffic.auth_by[SUCCESS]
    return {
        "messagesProcessed": traffic.messages_received,
        "authAttempts": traffic.auth_attempts,
        "authSuccesses": successes,
        "authFailures": traffic.auth_attempts - successes,
        "subscriptions": traffic.subscribed_total,
        "unsubscriptions": traffic.unsubscribed_total,
        "messagesPublished": traffic.published_total,
        "errors": traffic.errors,
    }
