"""The document of `/stats`: the plain counters (docs/metrics.md#statistics)."""

from __future__ import annotations

from typing import Any

from ..base.timestamps import format_timestamp
from .metrics import Metrics
from .protocol_stats import SUCCESS, ProtocolStats


def stats_document(metrics: Metrics, now: float, clock: float) -> dict[str, Any]:
    """All counters; `now` is in seconds since the epoch, `clock` is by the clock of the intervals."""
    handled: dict[str, int] = {}
    for (event_type, _status), count in metrics.events_handled.totals().items():
        handled[event_type] = handled.get(event_type, 0) + int(count)
    emitted = {event_type: int(count) for (event_type,), count in metrics.events_emitted.totals().items()}
    return {
        "timestamp": format_timestamp(now),
        "protocols": {
            stats.protocol: {
                "connections": _connection_stats(stats, clock),
                "messages": _message_stats(stats),
            }
            for stats in metrics.protocol_stats
        },
        "events": {"emitted": emitted, "handled": handled},
    }


def _connection_stats(stats: ProtocolStats, clock: float) -> dict[str, Any]:
    return {
        "activeConnections": stats.active_connections,
        "connectionsByIp": dict(stats.connections_by_network),
        "authenticatedConnections": stats.authenticated_connections,
        "totalSubscriptions": stats.active_subscriptions,
        "messagesSent": stats.messages_sent,
        "messagesReceived": stats.messages_received,
        "errors": stats.errors,
        "startedAt": format_timestamp(stats.started_at),
        "uptime": round((clock - stats.started_on_clock) * 1000),  # ms
    }


def _message_stats(stats: ProtocolStats) -> dict[str, int]:
    successes = stats.auth_by_outcome[SUCCESS]
    return {
        "messagesProcessed": stats.messages_received,
        "authAttempts": stats.auth_attempts,
        "authSuccesses": successes,
        "authFailures": stats.auth_attempts - successes,
        "subscriptions": stats.subscribed_total,
        "unsubscriptions": stats.unsubscribed_total,
        "messagesPublished": stats.published_total,
        "errors": stats.errors,
    }
