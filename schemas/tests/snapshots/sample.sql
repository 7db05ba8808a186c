CREATE TABLE IF NOT EXISTS "sample" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "order" BIGINT,
    "flag" BOOLEAN,
    "share" DOUBLE PRECISION NOT NULL,
    "words" TEXT NOT NULL,
    "at_utc" TIMESTAMPTZ,
    "data" JSONB NOT NULL,
    "flags" TEXT[] NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE NULLS NOT DISTINCT ("session_id", "order"),
    CHECK (share BETWEEN 0 AND 1)
);
CREATE INDEX IF NOT EXISTS "sample_session_id_at_utc_idx" ON "sample" ("session_id", "at_utc");
