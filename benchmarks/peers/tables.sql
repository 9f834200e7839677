-- What the peers with PostgreSQL keep: as many indexes as their two routes ask for.
CREATE TABLE bench_users (
    id         uuid        NOT NULL PRIMARY KEY,
    email      text        NOT NULL UNIQUE,
    name       text        NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE bench_messages (
    id         uuid        NOT NULL PRIMARY KEY,
    user_id    uuid        NOT NULL REFERENCES bench_users (id) ON DELETE CASCADE,
    content    text        NOT NULL,
    channel_id text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX bench_messages_by_channel ON bench_messages (channel_id, created_at);
