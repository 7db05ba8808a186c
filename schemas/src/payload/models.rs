//! The models, each as its table in the contracts.

use serde_json::{Map, Value};

use super::Kind::{
    Bool, Hash, Int, List, Map as MapOf, Number, Object, OneOf, Record, Text, Time, UniqueTexts, Uri, Uuid,
    UuidV4,
};
use super::Presence::{OrAbsent, OrEmpty, OrNull, OrOmitted, Required, RequiredOrNull};
use super::{Bounds, Field, Kind, Model, Presence, Reason};

/// All models that stand alone.
pub const MODELS: &[&Model] =
    &[&HANDOFF, &CHUNK, &CONTEXT, &DECISION, &ATTRIBUTION_EVENT, &OUTCOME, &LINK, &SCORE, &EVALUATION];

const SOURCE_KIND: Kind = OneOf(&["ibi", "session"]);
const DERIVATION: Kind = OneOf(&["provider", "server"]);
const HEART_RATE: Kind = Int(Bounds::between(20.0, 300.0));
const FINALITY: Kind = OneOf(&["online_provisional", "offline_final"]);
const SCHEMA_VERSION: Kind = OneOf(&["v3.4"]);
const METHOD: Kind = OneOf(&["cross_encoder", "llm_gray_band", "azure_llm_legacy"]);
const REASON_CODE: Kind = OneOf(&[
    "cross_encoder_high_match",
    "cross_encoder_high_nonmatch",
    "gray_band_llm_match",
    "gray_band_llm_nonmatch",
    "semantic_local_failure_fallback",
    "semantic_timeout",
    "semantic_error",
]);

/// Contracts §2.
static HANDOFF: Model = Model {
    name: "InferenceHandoffPayload",
    fields: &[
        field("session_id", UuidV4, Required),
        field("segment_id", Hash, Required),
        field("segment_window_start_utc", Time, Required),
        field("segment_window_end_utc", Time, Required),
        field("timestamp_utc", Time, Required),
        field("media_source", Record(&MEDIA_SOURCE), Required),
        field("segments", list(&Object), Required),
        field("_active_arm", Text, Required),
        field("_experiment_id", Int(Bounds::ANY), Required),
        field("_expected_greeting", Text, Required),
        field("_stimulus_time", Number(Bounds::ANY), RequiredOrNull),
        field("_au12_series", list(&Record(&AU12)), Required),
        field("_x_max", Number(Bounds::ANY), RequiredOrNull),
        field("_bandit_decision_snapshot", Record(&DECISION), Required),
        field("_physiological_context", Record(&CONTEXT), OrAbsent),
    ],
    rule: None,
};

static MEDIA_SOURCE: Model = Model {
    name: "media_source",
    fields: &[
        field("stream_url", Uri, Required),
        field("codec", OneOf(&["h264", "h265", "raw"]), Required),
        field(
            "resolution",
            List { item: &Int(Bounds::between(1.0, f64::INFINITY)), min: 2, max: 2 },
            Required,
        ),
    ],
    rule: None,
};

static AU12: Model = Model {
    name: "_au12_series[]",
    fields: &[
        field("timestamp_s", Number(Bounds::ANY), Required),
        field("intensity", Number(Bounds::UNIT), Required),
    ],
    rule: None,
};

/// Contracts §6.3.
static CHUNK: Model = Model {
    name: "PhysiologicalChunkEvent",
    fields: &[
        field("unique_id", Uuid, Required),
        field("event_type", OneOf(&["physiological_chunk"]), Required),
        field("provider", OneOf(&["oura"]), Required),
        field("subject_role", OneOf(&["streamer", "operator"]), Required),
        field("source_kind", SOURCE_KIND, Required),
        field("window_start_utc", Time, Required),
        field("window_end_utc", Time, Required),
        field("ingest_timestamp_utc", Time, Required),
        field("payload", Record(&CHUNK_PAYLOAD), Required),
    ],
    rule: None,
};

static CHUNK_PAYLOAD: Model = Model {
    name: "payload",
    fields: &[
        field("sample_interval_s", Int(Bounds::POSITIVE), Required),
        field("valid_sample_count", Int(Bounds::NOT_NEGATIVE), Required),
        field("expected_sample_count", Int(Bounds::NOT_NEGATIVE), Required),
        field("derivation_method", DERIVATION, Required),
        field("ibi_ms_items", list(&Number(Bounds::POSITIVE)), OrNull),
        field("rmssd_items_ms", list(&Number(Bounds::NOT_NEGATIVE)), OrNull),
        field("heart_rate_items_bpm", list(&HEART_RATE), OrNull),
        field("motion_items", list(&Number(Bounds::NOT_NEGATIVE)), OrNull),
    ],
    rule: Some(|payload| {
        let series = ["ibi_ms_items", "rmssd_items_ms", "heart_rate_items_bpm"];
        any_of(payload, &series, "without any of its three series")
    }),
};

/// Contracts §6.4.
static CONTEXT: Model = Model {
    name: "PhysiologicalContext",
    fields: &[field("streamer", Record(&SNAPSHOT), OrNull), field("operator", Record(&SNAPSHOT), OrNull)],
    rule: Some(|context| any_of(context, &["streamer", "operator"], "without a snapshot")),
};

static SNAPSHOT: Model = Model {
    name: "Snapshot",
    fields: &[
        field("rmssd_ms", Number(Bounds::NOT_NEGATIVE), OrNull),
        field("heart_rate_bpm", HEART_RATE, OrNull),
        field("source_timestamp_utc", Time, Required),
        field("freshness_s", Number(Bounds::NOT_NEGATIVE), Required),
        field("is_stale", Bool, Required),
        field("provider", Text, Required),
        field("source_kind", SOURCE_KIND, Required),
        field("derivation_method", DERIVATION, Required),
        field("window_s", Int(Bounds::POSITIVE), Required),
        field("validity_ratio", Number(Bounds::UNIT), Required),
        field("is_valid", Bool, Required),
    ],
    rule: None,
};

/// Contracts §8, as the scorer returns it.
static EVALUATION: Model = Model {
    name: "SemanticEvaluationResult",
    fields: &[
        field("reasoning", REASON_CODE, Required),
        field("is_match", Bool, Required),
        field("confidence_score", Number(Bounds::UNIT), Required),
    ],
    rule: None,
};

/// Contracts §9.
static DECISION: Model = Model {
    name: "BanditDecisionSnapshot",
    fields: &[
        field("selection_method", OneOf(&["thompson_sampling"]), Required),
        field("selection_time_utc", Time, Required),
        field("experiment_id", Int(Bounds::ANY), Required),
        field("policy_version", OneOf(&["thompson_sampling_v1"]), Required),
        field("selected_arm_id", Text, Required),
        field("candidate_arm_ids", UniqueTexts(1), Required),
        field("posterior_by_arm", MapOf(&Record(&POSTERIOR), 1), Required),
        field("sampled_theta_by_arm", MapOf(&Number(Bounds::UNIT), 0), OrOmitted),
        field("expected_greeting", Text, Required),
        field("decision_context_hash", Hash, OrOmitted),
        field("random_seed", Int(Bounds::ANY), OrNull),
    ],
    rule: None,
};

static POSTERIOR: Model = Model {
    name: "posterior_by_arm[]",
    fields: &[
        field("alpha", Number(Bounds::POSITIVE), Required),
        field("beta", Number(Bounds::POSITIVE), Required),
    ],
    rule: None,
};

/// Contracts §10.1.
static ATTRIBUTION_EVENT: Model = Model {
    name: "AttributionEvent",
    fields: &[
        field("event_id", Uuid, Required),
        field("session_id", UuidV4, Required),
        field("segment_id", Hash, Required),
        field("event_type", OneOf(&["greeting_interaction"]), Required),
        field("event_time_utc", Time, Required),
        field("stimulus_time_utc", Time, OrNull),
        field("selected_arm_id", Text, Required),
        field("expected_rule_text_hash", Hash, Required),
        field("semantic_method", METHOD, Required),
        field("semantic_method_version", Text, Required),
        field("semantic_p_match", Number(Bounds::UNIT), OrNull),
        field("semantic_reason_code", REASON_CODE, OrNull),
        field("reward_path_version", OneOf(&["7B.v3.4"]), Required),
        field("bandit_decision_snapshot", Record(&DECISION), Required),
        field("evidence_flags", UniqueTexts(0), OrEmpty),
        field("finality", FINALITY, Required),
        field("schema_version", SCHEMA_VERSION, Required),
        field("created_at", Time, Required),
    ],
    rule: None,
};

/// Contracts §10.2.
static OUTCOME: Model = Model {
    name: "OutcomeEvent",
    fields: &[
        field("outcome_id", Uuid, Required),
        field("session_id", UuidV4, Required),
        field("outcome_type", OneOf(&["creator_follow"]), Required),
        field("outcome_value", Number(Bounds::ANY), Required),
        field("outcome_time_utc", Time, Required),
        field("source_system", Text, Required),
        field("source_event_ref", Text, OrNull),
        field("confidence", Number(Bounds::UNIT), Required),
        field("finality", FINALITY, Required),
        field("schema_version", SCHEMA_VERSION, Required),
        field("created_at", Time, Required),
    ],
    rule: None,
};

/// Contracts §10.3.
static LINK: Model = Model {
    name: "EventOutcomeLink",
    fields: &[
        field("link_id", Uuid, Required),
        field("event_id", Uuid, Required),
        field("outcome_id", Uuid, Required),
        field("lag_s", Number(Bounds::NOT_NEGATIVE), Required),
        field("horizon_s", Number(Bounds::POSITIVE), Required),
        field("link_rule_version", Text, Required),
        field("eligibility_flags", UniqueTexts(0), Required),
        field("finality", FINALITY, Required),
        field("schema_version", SCHEMA_VERSION, Required),
        field("created_at", Time, Required),
    ],
    rule: Some(|link| match (link["lag_s"].as_f64(), link["horizon_s"].as_f64()) {
        (Some(lag), Some(horizon)) if lag > horizon => {
            Err((Some("lag_s"), Reason::Rule("greater than the horizon")))
        }
        _ => Ok(()),
    }),
};

/// Contracts §10.4.
static SCORE: Model = Model {
    name: "AttributionScore",
    fields: &[
        field("score_id", Uuid, Required),
        field("event_id", Uuid, Required),
        field("outcome_id", Uuid, OrNull),
        field("attribution_method", Text, Required),
        field("method_version", Text, Required),
        field("score_raw", Number(Bounds::ANY), RequiredOrNull),
        field("score_normalized", Number(Bounds::ANY), OrNull),
        field("confidence", Number(Bounds::UNIT), OrNull),
        field("evidence_flags", UniqueTexts(0), OrEmpty),
        field("finality", FINALITY, Required),
        field("schema_version", SCHEMA_VERSION, Required),
        field("created_at", Time, Required),
    ],
    rule: None,
};

const fn field(name: &'static str, kind: Kind, presence: Presence) -> Field {
    Field { name, kind, presence }
}

const fn list(item: &'static Kind) -> Kind {
    List { item, min: 0, max: usize::MAX }
}

fn any_of(
    object: &Map<String, Value>,
    names: &[&str],
    otherwise: &'static str,
) -> Result<(), (Option<&'static str>, Reason)> {
    let is_there = |name: &&str| object.get(*name).is_some_and(|value| !value.is_null());
    if names.iter().any(is_there) { Ok(()) } else { Err((None, Reason::Rule(otherwise))) }
}
