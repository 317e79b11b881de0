-- The schema of the embedded store. Any program may insert rows into `posts` and `stories`.
--
-- Dates are RFC 3339 text, UTC, as in '2026-11-23T10:00:00Z'. `hashtags` is JSON: a list of strings, or an object of
-- such lists by platform. Booleans are 0 and 1.
CREATE TABLE IF NOT EXISTS posts (
    id                     TEXT PRIMARY KEY NOT NULL,
    title                  TEXT,
    description            TEXT,
    caption                TEXT,
    hashtags               TEXT,
    platform               TEXT,
    status                 TEXT,
    content_type           TEXT,
    video_path             TEXT,
    image_path             TEXT,
    is_ai_generated        INTEGER DEFAULT 0,
    story_id               TEXT,
    story_name             TEXT,
    scheduled_at           TEXT,
    updated_at             TEXT,
    upload_publish_id      TEXT,
    instagram_container_id TEXT,
    posted_at              TEXT,
    error                  TEXT,
    failed_at              TEXT,
    retry_count            INTEGER DEFAULT 0,
    last_retried_at        TEXT,
    permanently_failed     INTEGER DEFAULT 0,
    permanently_failed_at  TEXT,
    tiktok_video_id        TEXT,
    tiktok_share_url       TEXT,
    instagram_media_id     TEXT,
    instagram_permalink    TEXT,
    youtube_video_id       TEXT,
    youtube_url            TEXT,
    failure_category       TEXT,
    retry_not_before       TEXT,
    retry_history          TEXT,
    claim_by               TEXT,
    claim_until            TEXT,
    publish_ticket         TEXT
);

CREATE TABLE IF NOT EXISTS stories (
    id   TEXT PRIMARY KEY NOT NULL,
    name TEXT
);

CREATE TABLE IF NOT EXISTS runs (
    id          TEXT PRIMARY KEY NOT NULL,
    command     TEXT NOT NULL,
    started_at  TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    duration_ms INTEGER NOT NULL,
    host        TEXT NOT NULL,
    version     TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    totals      TEXT NOT NULL,
    by_platform TEXT NOT NULL,
    attempts    TEXT NOT NULL
);

CREATE TABLE IF NOT EXISTS tokens (
    key                TEXT PRIMARY KEY NOT NULL,
    platform           TEXT,
    source             TEXT,
    access_token       TEXT,
    access_expires_at  TEXT,
    refresh_token      TEXT,
    refresh_expires_at TEXT,
    refresh_by         TEXT,
    refresh_until      TEXT,
    updated_at         TEXT
);
