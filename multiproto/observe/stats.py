"""What `/stats` says: the plain counters, in the contract's spelling (section 2, end)."""

from __future__ import annotations

from typing import Any

from ..base.timestamps import format_timestamp
from .metrics import Metrics
from .protocol_stats import SUCCESS, ProtocolStats


def stats_document(metrics: Metrics, now: float) -> dict[str, Any]:
    """Everything at the moment `now`, in seconds since the epoch."""
    handled: dict[str, int] = {}
    for (event_type, _status), count in metrics.events_handled.totals().items():
        handled[event_type] = handled.get(event_type, 0) + int(count)
    emitted = {event_type: int(count) for (event_type,), count in metrics.events_emitted.totals().items()}
    return {
        "timestamp": format_timestamp(now),
        "protocols": {
            traffic.protocol: {
                "connections": _connection_stats(traffic, now),
                "messages": _message_stats(traffic),
            }
            for traffic in metrics.protocol_stats
        },
        "events": {"emitted": emitted, "handled": handled},
    }


def _connection_stats(traffic: ProtocolStats, now: float) -> dict[str, Any]:
    return {
        "activeConnections": traffic.active_connections,
        "connectionsByIp": dict(traffic.connections_by_host),
        "authenticatedConnections": traffic.authenticated_connections,
        "totalSubscriptions": traffic.active_subscriptions,
        "messagesSent": traffic.messages_sent,
        "messagesReceived": traffic.messages_received,
        "errors": traffic.errors,
        "startedAt": format_timestamp(traffic.started_at),
        "uptime": round((now - traffic.started_at) * 1000),  # ms
    }


def _message_stats(traffic: ProtocolStats) -> dict[str, int]:
    successes = traffic.auth_by_outcome[SUCCESS]
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
