CREATE TABLE IF NOT EXISTS "actions" (
    "id" BIGINT NOT NULL UNIQUE,
    "action_id" UUID NOT NULL,
    "actor" TEXT NOT NULL,
    "action" TEXT NOT NULL,
    "at" TIMESTAMPTZ NOT NULL,
    "session_id" UUID,
    "experiment_id" TEXT,
    "arm" TEXT,
    "topic" TEXT NOT NULL,
    "partition" BIGINT NOT NULL,
    "record_offset" BIGINT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    PRIMARY KEY ("action_id")
);
CREATE INDEX IF NOT EXISTS "actions_at_idx" ON "actions" ("at");

CREATE TABLE IF NOT EXISTS "alerts" (
    "id" BIGINT PRIMARY KEY,
    "alert_id" TEXT NOT NULL,
    "severity" TEXT NOT NULL,
    "kind" TEXT NOT NULL,
    "message" TEXT NOT NULL,
    "session_id" UUID,
    "subsystem_key" TEXT,
    "emitted_at_utc" TIMESTAMPTZ NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("alert_id"),
    CHECK (severity IN ('info', 'warning', 'critical')),
    CHECK (kind IN ('subsystem_degraded', 'subsystem_recovering', 'subsystem_error', 'physiology_stale', 'stimulus_failed', 'session_ended', 'data_gap'))
);
CREATE INDEX IF NOT EXISTS "alerts_emitted_at_utc_idx" ON "alerts" ("emitted_at_utc");

CREATE TABLE IF NOT EXISTS "arm_summaries" (
    "id" BIGINT PRIMARY KEY,
    "experiment_id" TEXT NOT NULL,
    "arm" TEXT NOT NULL,
    "encounter_count" BIGINT NOT NULL,
    "valid_count" BIGINT NOT NULL,
    "avg_reward" DOUBLE PRECISION NOT NULL,
    "avg_valid_reward" DOUBLE PRECISION,
    "avg_p90" DOUBLE PRECISION,
    "gate_rate" DOUBLE PRECISION NOT NULL,
    "avg_frames" DOUBLE PRECISION,
    "first_encounter" TIMESTAMPTZ NOT NULL,
    "last_encounter" TIMESTAMPTZ NOT NULL,
    "latest_stimulus_utc" TIMESTAMPTZ,
    "latest_reward" DOUBLE PRECISION NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("experiment_id", "arm")
);

CREATE TABLE IF NOT EXISTS "attribution_event" (
    "id" BIGINT NOT NULL UNIQUE,
    "event_id" UUID NOT NULL,
    "session_id" UUID NOT NULL,
    "segment_id" TEXT NOT NULL,
    "event_type" TEXT NOT NULL,
    "event_time_utc" TIMESTAMPTZ NOT NULL,
    "stimulus_time_utc" TIMESTAMPTZ,
    "selected_arm_id" TEXT NOT NULL,
    "expected_rule_text_hash" TEXT NOT NULL,
    "semantic_method" TEXT NOT NULL,
    "semantic_method_version" TEXT NOT NULL,
    "semantic_p_match" DOUBLE PRECISION,
    "semantic_reason_code" TEXT,
    "reward_path_version" TEXT NOT NULL,
    "bandit_decision_snapshot" JSONB NOT NULL,
    "evidence_flags" TEXT[] NOT NULL,
    "finality" TEXT NOT NULL,
    "schema_version" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    PRIMARY KEY ("event_id"),
    CHECK (segment_id ~ '^[0-9a-f]{64}$'),
    CHECK (expected_rule_text_hash ~ '^[0-9a-f]{64}$'),
    CHECK (event_type IN ('greeting_interaction')),
    CHECK (semantic_p_match BETWEEN 0 AND 1),
    CHECK (finality IN ('online_provisional', 'offline_final')),
    UNIQUE (session_id, segment_id, event_type, reward_path_version)
);
CREATE INDEX IF NOT EXISTS "attribution_event_session_id_idx" ON "attribution_event" ("session_id");
CREATE INDEX IF NOT EXISTS "attribution_event_segment_id_idx" ON "attribution_event" ("segment_id");
CREATE INDEX IF NOT EXISTS "attribution_event_event_time_utc_idx" ON "attribution_event" ("event_time_utc");
CREATE INDEX IF NOT EXISTS "attribution_event_finality_idx" ON "attribution_event" ("finality");

CREATE TABLE IF NOT EXISTS "attribution_score" (
    "id" BIGINT NOT NULL UNIQUE,
    "score_id" UUID NOT NULL,
    "event_id" UUID NOT NULL,
    "outcome_id" UUID,
    "attribution_method" TEXT NOT NULL,
    "method_version" TEXT NOT NULL,
    "score_raw" DOUBLE PRECISION,
    "score_normalized" DOUBLE PRECISION,
    "confidence" DOUBLE PRECISION,
    "evidence_flags" TEXT[] NOT NULL,
    "finality" TEXT NOT NULL,
    "schema_version" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    PRIMARY KEY ("score_id"),
    CHECK (finality IN ('online_provisional', 'offline_final')),
    UNIQUE NULLS NOT DISTINCT (event_id, outcome_id, attribution_method, method_version)
);
CREATE INDEX IF NOT EXISTS "attribution_score_event_id_idx" ON "attribution_score" ("event_id");
CREATE INDEX IF NOT EXISTS "attribution_score_outcome_id_idx" ON "attribution_score" ("outcome_id");
CREATE INDEX IF NOT EXISTS "attribution_score_finality_idx" ON "attribution_score" ("finality");

CREATE TABLE IF NOT EXISTS "au12" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "seq" BIGINT NOT NULL,
    "timestamp_utc" TIMESTAMPTZ NOT NULL,
    "intensity" DOUBLE PRECISION NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "seq")
);
CREATE INDEX IF NOT EXISTS "au12_session_id_timestamp_utc_idx" ON "au12" ("session_id", "timestamp_utc");

CREATE TABLE IF NOT EXISTS "comodulation_log" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "window_start_utc" TIMESTAMPTZ NOT NULL,
    "window_end_utc" TIMESTAMPTZ NOT NULL,
    "window_minutes" BIGINT NOT NULL,
    "co_modulation_index" DOUBLE PRECISION,
    "n_paired_observations" BIGINT NOT NULL,
    "coverage_ratio" DOUBLE PRECISION NOT NULL,
    "streamer_rmssd_mean" DOUBLE PRECISION,
    "operator_rmssd_mean" DOUBLE PRECISION,
    "null_reason" TEXT,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "window_end_utc")
);
CREATE INDEX IF NOT EXISTS "comodulation_log_session_id_window_end_utc_idx" ON "comodulation_log" ("session_id", "window_end_utc");

CREATE TABLE IF NOT EXISTS "context" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID,
    "source_url" TEXT NOT NULL,
    "scraped_at_utc" TIMESTAMPTZ NOT NULL,
    "data" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("source_url", "scraped_at_utc")
);

CREATE TABLE IF NOT EXISTS "dead_letters" (
    "id" BIGINT PRIMARY KEY,
    "topic" TEXT NOT NULL,
    "partition" BIGINT NOT NULL,
    "record_offset" BIGINT NOT NULL,
    "log_time" TIMESTAMPTZ NOT NULL,
    "session_id" UUID,
    "reason" TEXT NOT NULL,
    "detail" TEXT NOT NULL,
    "sha256" TEXT NOT NULL,
    "size" BIGINT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("topic", "partition", "record_offset")
);
CREATE INDEX IF NOT EXISTS "dead_letters_session_id_reason_idx" ON "dead_letters" ("session_id", "reason");

CREATE TABLE IF NOT EXISTS "decisions" (
    "id" BIGINT NOT NULL UNIQUE,
    "session_id" UUID NOT NULL,
    "experiment_id" TEXT NOT NULL,
    "selection_method" TEXT NOT NULL,
    "selection_time_utc" TIMESTAMPTZ NOT NULL,
    "policy_version" TEXT NOT NULL,
    "selected_arm_id" TEXT NOT NULL,
    "candidate_arm_ids" TEXT[] NOT NULL,
    "posterior_by_arm" JSONB NOT NULL,
    "sampled_theta_by_arm" JSONB NOT NULL,
    "expected_greeting" TEXT NOT NULL,
    "decision_context_hash" TEXT NOT NULL,
    "random_seed" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    PRIMARY KEY ("session_id")
);

CREATE TABLE IF NOT EXISTS "encounter_log" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "segment_id" TEXT NOT NULL,
    "experiment_id" TEXT NOT NULL,
    "arm" TEXT NOT NULL,
    "timestamp_utc" TIMESTAMPTZ NOT NULL,
    "gated_reward" DOUBLE PRECISION NOT NULL,
    "p90_intensity" DOUBLE PRECISION NOT NULL,
    "semantic_gate" BIGINT NOT NULL,
    "is_valid" BOOLEAN NOT NULL,
    "n_frames" BIGINT NOT NULL,
    "baseline_neutral" DOUBLE PRECISION,
    "stimulus_time" DOUBLE PRECISION,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE NULLS NOT DISTINCT ("session_id", "segment_id", "stimulus_time"),
    CHECK (gated_reward BETWEEN 0 AND 1),
    CHECK (semantic_gate IN (0, 1))
);
CREATE INDEX IF NOT EXISTS "encounter_log_experiment_id_arm_idx" ON "encounter_log" ("experiment_id", "arm");
CREATE INDEX IF NOT EXISTS "encounter_log_session_id_timestamp_utc_idx" ON "encounter_log" ("session_id", "timestamp_utc");

CREATE TABLE IF NOT EXISTS "encounter_summaries" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "stimulus_time_utc" TIMESTAMPTZ NOT NULL,
    "client_action_id" UUID NOT NULL,
    "segment_id" TEXT NOT NULL,
    "segment_timestamp_utc" TIMESTAMPTZ NOT NULL,
    "state" TEXT NOT NULL,
    "experiment_id" TEXT NOT NULL,
    "active_arm" TEXT NOT NULL,
    "expected_greeting" TEXT NOT NULL,
    "semantic_gate" BIGINT,
    "semantic_confidence" DOUBLE PRECISION,
    "p90_intensity" DOUBLE PRECISION,
    "gated_reward" DOUBLE PRECISION,
    "n_frames_in_window" BIGINT,
    "baseline_b_neutral" DOUBLE PRECISION,
    "physiology_attached" BOOLEAN NOT NULL,
    "physiology_stale" BOOLEAN,
    "observational_acoustic" JSONB,
    "semantic_evaluation" JSONB,
    "attribution" JSONB,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "stimulus_time_utc", "client_action_id")
);

CREATE TABLE IF NOT EXISTS "evaluations" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "segment_id" TEXT NOT NULL,
    "timestamp_utc" TIMESTAMPTZ NOT NULL,
    "reasoning" TEXT,
    "is_match" BOOLEAN,
    "confidence" DOUBLE PRECISION,
    "semantic_method" TEXT,
    "semantic_method_version" TEXT,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "segment_id")
);
CREATE INDEX IF NOT EXISTS "evaluations_session_id_timestamp_utc_idx" ON "evaluations" ("session_id", "timestamp_utc");

CREATE TABLE IF NOT EXISTS "event_outcome_link" (
    "id" BIGINT NOT NULL UNIQUE,
    "link_id" UUID NOT NULL,
    "event_id" UUID NOT NULL,
    "outcome_id" UUID NOT NULL,
    "lag_s" DOUBLE PRECISION NOT NULL,
    "horizon_s" DOUBLE PRECISION NOT NULL,
    "link_rule_version" TEXT NOT NULL,
    "eligibility_flags" TEXT[] NOT NULL,
    "finality" TEXT NOT NULL,
    "schema_version" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    PRIMARY KEY ("link_id"),
    CHECK (lag_s >= 0),
    CHECK (horizon_s > 0),
    CHECK (lag_s <= horizon_s),
    CHECK (finality IN ('online_provisional', 'offline_final')),
    UNIQUE (event_id, outcome_id, link_rule_version)
);
CREATE INDEX IF NOT EXISTS "event_outcome_link_event_id_idx" ON "event_outcome_link" ("event_id");
CREATE INDEX IF NOT EXISTS "event_outcome_link_outcome_id_idx" ON "event_outcome_link" ("outcome_id");
CREATE INDEX IF NOT EXISTS "event_outcome_link_finality_idx" ON "event_outcome_link" ("finality");

CREATE TABLE IF NOT EXISTS "events" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "unique_id" TEXT NOT NULL,
    "event_type" TEXT NOT NULL,
    "timestamp_utc" TIMESTAMPTZ NOT NULL,
    "gift_value" BIGINT,
    "is_combo" BOOLEAN,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "unique_id", "event_type", "timestamp_utc")
);
CREATE INDEX IF NOT EXISTS "events_session_id_timestamp_utc_idx" ON "events" ("session_id", "timestamp_utc");

CREATE TABLE IF NOT EXISTS "experiments" (
    "id" BIGINT PRIMARY KEY,
    "experiment_id" TEXT NOT NULL,
    "arm" TEXT NOT NULL,
    "alpha_param" DOUBLE PRECISION NOT NULL,
    "beta_param" DOUBLE PRECISION NOT NULL,
    "evaluation_variance" DOUBLE PRECISION NOT NULL,
    "label" TEXT,
    "greeting_text" TEXT,
    "enabled" BOOLEAN NOT NULL,
    "end_dated_at" TIMESTAMPTZ,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("experiment_id", "arm"),
    CHECK (alpha_param > 0),
    CHECK (beta_param > 0)
);

CREATE TABLE IF NOT EXISTS "faces" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "seq" BIGINT NOT NULL,
    "capture_utc" TIMESTAMPTZ NOT NULL,
    "ratio" DOUBLE PRECISION,
    "present" BOOLEAN NOT NULL,
    "reason" TEXT,
    "model" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "seq")
);

CREATE TABLE IF NOT EXISTS "health" (
    "id" BIGINT PRIMARY KEY,
    "subsystem_key" TEXT NOT NULL,
    "label" TEXT NOT NULL,
    "state" TEXT NOT NULL,
    "since_utc" TIMESTAMPTZ NOT NULL,
    "last_success_utc" TIMESTAMPTZ,
    "detail" TEXT,
    "recovery_mode" TEXT,
    "operator_action_hint" TEXT,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("subsystem_key"),
    CHECK (state IN ('ok', 'recovering', 'degraded', 'error', 'unknown'))
);

CREATE TABLE IF NOT EXISTS "inferences" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "request_id" TEXT NOT NULL,
    "what" TEXT NOT NULL,
    "segment_id" TEXT NOT NULL,
    "from_utc" TIMESTAMPTZ NOT NULL,
    "to_utc" TIMESTAMPTZ NOT NULL,
    "input_sha256" TEXT NOT NULL,
    "model" TEXT NOT NULL,
    "answer" JSONB,
    "reason" TEXT,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "request_id")
);
CREATE INDEX IF NOT EXISTS "inferences_session_id_from_utc_idx" ON "inferences" ("session_id", "from_utc");
CREATE INDEX IF NOT EXISTS "inferences_input_sha256_idx" ON "inferences" ("input_sha256");

CREATE TABLE IF NOT EXISTS "judgements" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "client_action_id" UUID NOT NULL,
    "segment_id" TEXT NOT NULL,
    "stimulus_utc" TIMESTAMPTZ NOT NULL,
    "timestamp_utc" TIMESTAMPTZ NOT NULL,
    "experiment_id" TEXT NOT NULL,
    "arm" TEXT NOT NULL,
    "reasoning" TEXT NOT NULL,
    "is_match" BOOLEAN NOT NULL,
    "confidence" DOUBLE PRECISION NOT NULL,
    "semantic_method" TEXT NOT NULL,
    "semantic_method_version" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "client_action_id")
);
CREATE INDEX IF NOT EXISTS "judgements_session_id_timestamp_utc_idx" ON "judgements" ("session_id", "timestamp_utc");

CREATE TABLE IF NOT EXISTS "lag_scans" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "segment_id" TEXT NOT NULL,
    "peak_corr" DOUBLE PRECISION,
    "peak_lag_min" BIGINT,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "segment_id")
);

CREATE TABLE IF NOT EXISTS "metrics" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "segment_id" TEXT NOT NULL,
    "timestamp_utc" TIMESTAMPTZ NOT NULL,
    "au12_intensity" DOUBLE PRECISION,
    "pitch_f0" DOUBLE PRECISION,
    "jitter" DOUBLE PRECISION,
    "shimmer" DOUBLE PRECISION,
    "f0_valid_measure" BOOLEAN,
    "f0_valid_baseline" BOOLEAN,
    "perturbation_valid_measure" BOOLEAN,
    "perturbation_valid_baseline" BOOLEAN,
    "voiced_coverage_measure_s" DOUBLE PRECISION,
    "voiced_coverage_baseline_s" DOUBLE PRECISION,
    "f0_mean_measure_hz" DOUBLE PRECISION,
    "f0_mean_baseline_hz" DOUBLE PRECISION,
    "f0_delta_semitones" DOUBLE PRECISION,
    "jitter_mean_measure" DOUBLE PRECISION,
    "jitter_mean_baseline" DOUBLE PRECISION,
    "jitter_delta" DOUBLE PRECISION,
    "shimmer_mean_measure" DOUBLE PRECISION,
    "shimmer_mean_baseline" DOUBLE PRECISION,
    "shimmer_delta" DOUBLE PRECISION,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "segment_id")
);
CREATE INDEX IF NOT EXISTS "metrics_session_id_timestamp_utc_idx" ON "metrics" ("session_id", "timestamp_utc");

CREATE TABLE IF NOT EXISTS "outcome_event" (
    "id" BIGINT NOT NULL UNIQUE,
    "outcome_id" UUID NOT NULL,
    "session_id" UUID NOT NULL,
    "outcome_type" TEXT NOT NULL,
    "outcome_value" DOUBLE PRECISION NOT NULL,
    "outcome_time_utc" TIMESTAMPTZ NOT NULL,
    "source_system" TEXT NOT NULL,
    "source_event_ref" TEXT,
    "confidence" DOUBLE PRECISION NOT NULL,
    "finality" TEXT NOT NULL,
    "schema_version" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    PRIMARY KEY ("outcome_id"),
    CHECK (confidence BETWEEN 0 AND 1),
    CHECK (finality IN ('online_provisional', 'offline_final')),
    UNIQUE NULLS NOT DISTINCT (session_id, outcome_type, outcome_time_utc, source_system, source_event_ref)
);
CREATE INDEX IF NOT EXISTS "outcome_event_session_id_idx" ON "outcome_event" ("session_id");
CREATE INDEX IF NOT EXISTS "outcome_event_outcome_time_utc_idx" ON "outcome_event" ("outcome_time_utc");
CREATE INDEX IF NOT EXISTS "outcome_event_finality_idx" ON "outcome_event" ("finality");

CREATE TABLE IF NOT EXISTS "physiology_current" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "subject_role" TEXT NOT NULL,
    "segment_id" TEXT NOT NULL,
    "segment_timestamp_utc" TIMESTAMPTZ NOT NULL,
    "rmssd_ms" DOUBLE PRECISION,
    "heart_rate_bpm" BIGINT,
    "freshness_s" DOUBLE PRECISION NOT NULL,
    "is_stale" BOOLEAN NOT NULL,
    "provider" TEXT NOT NULL,
    "source_timestamp_utc" TIMESTAMPTZ NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "subject_role")
);

CREATE TABLE IF NOT EXISTS "physiology_log" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "segment_id" TEXT NOT NULL,
    "subject_role" TEXT NOT NULL,
    "rmssd_ms" DOUBLE PRECISION,
    "heart_rate_bpm" BIGINT,
    "freshness_s" DOUBLE PRECISION NOT NULL,
    "is_stale" BOOLEAN NOT NULL,
    "provider" TEXT NOT NULL,
    "source_kind" TEXT NOT NULL,
    "derivation_method" TEXT NOT NULL,
    "window_s" BIGINT NOT NULL,
    "validity_ratio" DOUBLE PRECISION NOT NULL,
    "is_valid" BOOLEAN NOT NULL,
    "source_timestamp_utc" TIMESTAMPTZ NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "segment_id", "subject_role"),
    CHECK (subject_role IN ('streamer', 'operator')),
    CHECK (source_kind IN ('ibi', 'session')),
    CHECK (window_s > 0),
    CHECK (validity_ratio BETWEEN 0 AND 1)
);
CREATE INDEX IF NOT EXISTS "physiology_log_session_id_subject_role_idx" ON "physiology_log" ("session_id", "subject_role");
CREATE INDEX IF NOT EXISTS "physiology_log_session_id_segment_id_idx" ON "physiology_log" ("session_id", "segment_id");

CREATE TABLE IF NOT EXISTS "posterior_history" (
    "id" BIGINT PRIMARY KEY,
    "experiment_id" TEXT NOT NULL,
    "arm" TEXT NOT NULL,
    "at" TIMESTAMPTZ NOT NULL,
    "alpha_param" DOUBLE PRECISION NOT NULL,
    "beta_param" DOUBLE PRECISION NOT NULL,
    "moved_by" JSONB NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("experiment_id", "arm", "at"),
    CHECK (alpha_param > 0),
    CHECK (beta_param > 0)
);

CREATE TABLE IF NOT EXISTS "reactions" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "client_action_id" UUID NOT NULL,
    "segment_id" TEXT NOT NULL,
    "stimulus_utc" TIMESTAMPTZ NOT NULL,
    "timestamp_utc" TIMESTAMPTZ NOT NULL,
    "p90_intensity" DOUBLE PRECISION NOT NULL,
    "n_frames" BIGINT NOT NULL,
    "baseline_neutral" DOUBLE PRECISION,
    "lift_p90" DOUBLE PRECISION,
    "lift_peak" DOUBLE PRECISION,
    "peak_latency_ms" DOUBLE PRECISION,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "client_action_id")
);
CREATE INDEX IF NOT EXISTS "reactions_session_id_timestamp_utc_idx" ON "reactions" ("session_id", "timestamp_utc");

CREATE TABLE IF NOT EXISTS "record_classes" (
    "id" BIGINT PRIMARY KEY,
    "session" TEXT NOT NULL,
    "topic" TEXT NOT NULL,
    "class" TEXT NOT NULL,
    "reason" TEXT NOT NULL,
    "records" BIGINT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session", "topic", "class", "reason")
);

CREATE TABLE IF NOT EXISTS "segment_streams" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "ordinal" BIGINT NOT NULL,
    "stream" TEXT NOT NULL,
    "topic" TEXT NOT NULL,
    "partition" BIGINT,
    "records" BIGINT NOT NULL,
    "first_offset" BIGINT,
    "last_offset" BIGINT,
    "first_event_time" TIMESTAMPTZ,
    "last_event_time" TIMESTAMPTZ,
    "reached_offset" BIGINT,
    "reached_event_time" TIMESTAMPTZ,
    "heard_at" TIMESTAMPTZ NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "ordinal", "stream")
);

CREATE TABLE IF NOT EXISTS "segments" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "ordinal" BIGINT NOT NULL,
    "segment_id" TEXT NOT NULL,
    "window_start_utc" TIMESTAMPTZ NOT NULL,
    "window_end_utc" TIMESTAMPTZ NOT NULL,
    "closed_by" TEXT NOT NULL,
    "closed_at" TIMESTAMPTZ NOT NULL,
    "evidence_stream" TEXT,
    "evidence_offset" BIGINT,
    "evidence_event_time" TIMESTAMPTZ,
    "audio_samples" BIGINT NOT NULL,
    "audio_sha256" TEXT NOT NULL,
    "video_frames" BIGINT NOT NULL,
    "face_frames" BIGINT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "ordinal")
);
CREATE INDEX IF NOT EXISTS "segments_session_id_window_start_utc_idx" ON "segments" ("session_id", "window_start_utc");

CREATE TABLE IF NOT EXISTS "session_summaries" (
    "id" BIGINT NOT NULL UNIQUE,
    "session_id" UUID NOT NULL,
    "stream_url" TEXT NOT NULL,
    "started_at" TIMESTAMPTZ NOT NULL,
    "ended_at" TIMESTAMPTZ,
    "experiment_id" TEXT NOT NULL,
    "active_arm" TEXT,
    "expected_greeting" TEXT,
    "total_segments" BIGINT NOT NULL,
    "last_segment_completed_at" TIMESTAMPTZ,
    "latest_reward" DOUBLE PRECISION,
    "latest_semantic_gate" BIGINT,
    "encounter_state" TEXT NOT NULL,
    "latest_stimulus_utc" TIMESTAMPTZ,
    "is_calibrating" BOOLEAN NOT NULL,
    "calibration_frames_accumulated" BIGINT NOT NULL,
    "calibration_frames_required" BIGINT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    PRIMARY KEY ("session_id")
);
CREATE INDEX IF NOT EXISTS "session_summaries_started_at_idx" ON "session_summaries" ("started_at");

CREATE TABLE IF NOT EXISTS "sessions" (
    "id" BIGINT NOT NULL UNIQUE,
    "session_id" UUID NOT NULL,
    "stream_url" TEXT NOT NULL,
    "started_at" TIMESTAMPTZ NOT NULL,
    "ended_at" TIMESTAMPTZ,
    "experiment_id" TEXT NOT NULL,
    "anchor_utc" TIMESTAMPTZ,
    "active_arm" TEXT,
    "expected_greeting" TEXT,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    PRIMARY KEY ("session_id")
);
CREATE INDEX IF NOT EXISTS "sessions_started_at_idx" ON "sessions" ("started_at");

CREATE TABLE IF NOT EXISTS "stimuli" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "client_action_id" UUID NOT NULL,
    "stimulus_utc" TIMESTAMPTZ NOT NULL,
    "segment_id" TEXT NOT NULL,
    "operator_note" TEXT,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "client_action_id")
);

CREATE TABLE IF NOT EXISTS "transcripts" (
    "id" BIGINT PRIMARY KEY,
    "session_id" UUID NOT NULL,
    "segment_id" TEXT NOT NULL,
    "timestamp_utc" TIMESTAMPTZ NOT NULL,
    "text" TEXT NOT NULL,
    "created_at" TIMESTAMPTZ NOT NULL,
    "updated_at" TIMESTAMPTZ NOT NULL,
    UNIQUE ("session_id", "segment_id")
);
CREATE INDEX IF NOT EXISTS "transcripts_session_id_timestamp_utc_idx" ON "transcripts" ("session_id", "timestamp_utc");
