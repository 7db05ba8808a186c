// The records of the API (console specification §6, and the tables behind the pictures), as schemas: what does
// not fit is an error of its surface and is never shown.
import * as v from "valibot";

const nullable = <T extends v.GenericSchema>(schema: T) => v.optional(v.nullable(schema), null);
const text = v.string();
const finite = v.pipe(v.number(), v.finite());
const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const share = v.pipe(finite, v.minValue(0), v.maxValue(1));
/** An instant with its zone; naive times are refused. */
const instant = v.pipe(v.string(), v.regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/));
const gate = v.picklist([0, 1]);

export const SessionSummary = v.object({
  session_id: text,
  status: v.picklist(["active", "ended"]),
  started_at_utc: instant,
  ended_at_utc: nullable(instant),
  duration_s: nullable(finite),
  experiment_id: nullable(text),
  active_arm: nullable(text),
  expected_greeting: nullable(text),
  last_segment_completed_at_utc: nullable(instant),
  latest_reward: nullable(finite),
  latest_semantic_gate: nullable(gate),
  is_calibrating: nullable(v.boolean()),
  calibration_frames_accumulated: nullable(count),
  calibration_frames_required: nullable(count),
});
export type SessionSummary = v.InferOutput<typeof SessionSummary>;

export const encounterStates = [
  "awaiting_stimulus",
  "stimulus_issued",
  "measuring",
  "completed",
  "rejected_no_frames",
  "rejected_gate_closed",
] as const;
export type EncounterState = (typeof encounterStates)[number];

export const Acoustic = v.object({
  f0_valid_measure: nullable(v.boolean()),
  f0_valid_baseline: nullable(v.boolean()),
  perturbation_valid_measure: nullable(v.boolean()),
  perturbation_valid_baseline: nullable(v.boolean()),
  voiced_coverage_measure_s: nullable(finite),
  voiced_coverage_baseline_s: nullable(finite),
  f0_mean_measure_hz: nullable(finite),
  f0_mean_baseline_hz: nullable(finite),
  f0_delta_semitones: nullable(finite),
  jitter_mean_measure: nullable(finite),
  jitter_mean_baseline: nullable(finite),
  jitter_delta: nullable(finite),
  shimmer_mean_measure: nullable(finite),
  shimmer_mean_baseline: nullable(finite),
  shimmer_delta: nullable(finite),
});
export type Acoustic = v.InferOutput<typeof Acoustic>;

export const SemanticEvaluation = v.object({
  reasoning: nullable(text),
  is_match: nullable(v.boolean()),
  confidence_score: nullable(share),
  semantic_method: nullable(text),
  semantic_method_version: nullable(text),
});
export type SemanticEvaluation = v.InferOutput<typeof SemanticEvaluation>;

export const Attribution = v.object({
  finality: nullable(text),
  soft_reward_candidate: nullable(finite),
  au12_baseline_pre: nullable(finite),
  au12_lift_p90: nullable(finite),
  au12_lift_peak: nullable(finite),
  au12_peak_latency_ms: nullable(finite),
  sync_peak_corr: nullable(finite),
  sync_peak_lag: nullable(finite),
  outcome_link_lag_s: nullable(finite),
});
export type Attribution = v.InferOutput<typeof Attribution>;

const latest = {
  encounter_id: text,
  session_id: text,
  segment_timestamp_utc: instant,
  state: v.picklist(encounterStates),
  active_arm: nullable(text),
  expected_greeting: nullable(text),
  stimulus_time_utc: nullable(instant),
  semantic_gate: nullable(gate),
  p90_intensity: nullable(finite),
  gated_reward: nullable(finite),
  n_frames_in_window: nullable(count),
  observational_acoustic: nullable(Acoustic),
  semantic_evaluation: nullable(SemanticEvaluation),
  attribution: nullable(Attribution),
};
export const LatestEncounter = v.object(latest);
export type LatestEncounter = v.InferOutput<typeof LatestEncounter>;

export const Encounter = v.object({
  ...latest,
  semantic_confidence: nullable(share),
  baseline_b_neutral: nullable(finite),
  physiology_attached: v.optional(v.boolean(), false),
  physiology_stale: nullable(v.boolean()),
  notes: v.optional(v.array(text), []),
});
export type Encounter = v.InferOutput<typeof Encounter>;

export const ExperimentSummary = v.object({
  experiment_id: text,
  label: nullable(text),
  active_arm_id: nullable(text),
  arm_count: count,
  last_updated_utc: nullable(instant),
  latest_reward: nullable(finite),
});
export type ExperimentSummary = v.InferOutput<typeof ExperimentSummary>;

const positive = v.pipe(finite, v.gtValue(0));
export const Arm = v.object({
  arm_id: text,
  greeting_text: v.optional(v.nullable(text), null),
  posterior_alpha: positive,
  posterior_beta: positive,
  evaluation_variance: nullable(finite),
  selection_count: count,
  recent_reward_mean: nullable(finite),
  recent_semantic_pass_rate: nullable(share),
  enabled: v.optional(v.boolean(), true),
  end_dated_at: nullable(instant),
});
export type Arm = v.InferOutput<typeof Arm>;

export const ExperimentDetail = v.object({
  experiment_id: text,
  label: nullable(text),
  active_arm_id: nullable(text),
  arms: v.array(Arm),
  last_update_summary: nullable(text),
  last_updated_utc: nullable(instant),
});
export type ExperimentDetail = v.InferOutput<typeof ExperimentDetail>;

export const Physiology = v.object({
  subject_role: text,
  rmssd_ms: nullable(finite),
  heart_rate_bpm: nullable(finite),
  provider: nullable(text),
  source_timestamp_utc: nullable(instant),
  freshness_s: nullable(finite),
  is_stale: nullable(v.boolean()),
});
export type Physiology = v.InferOutput<typeof Physiology>;

export const Comodulation = v.object({
  session_id: text,
  co_modulation_index: nullable(finite),
  n_paired_observations: count,
  coverage_ratio: share,
  streamer_rmssd_mean: nullable(finite),
  operator_rmssd_mean: nullable(finite),
  null_reason: nullable(text),
  window_start_utc: nullable(instant),
  window_end_utc: nullable(instant),
});
export type Comodulation = v.InferOutput<typeof Comodulation>;

export const PhysiologySnapshot = v.object({
  session_id: text,
  streamer: nullable(Physiology),
  operator: nullable(Physiology),
  comodulation: nullable(Comodulation),
  generated_at_utc: instant,
});
export type PhysiologySnapshot = v.InferOutput<typeof PhysiologySnapshot>;

export const healthStates = ["ok", "degraded", "recovering", "error", "unknown"] as const;
export type HealthState = (typeof healthStates)[number];
export const Subsystem = v.object({
  subsystem_key: text,
  label: text,
  state: v.picklist(healthStates),
  last_success_utc: nullable(instant),
  detail: nullable(text),
  recovery_mode: nullable(text),
  operator_action_hint: nullable(text),
});
export type Subsystem = v.InferOutput<typeof Subsystem>;

/** A subsystem, as table `health` has it. */
export const SubsystemRow = v.object({ subsystem_key: text, state: v.picklist(healthStates) });

export const probeStates = ["ok", "error", "timeout", "not_configured", "unknown"] as const;
export type ProbeState = (typeof probeStates)[number];
export const Probe = v.object({
  subsystem_key: text,
  label: text,
  state: v.picklist(probeStates),
  latency_ms: nullable(finite),
  detail: nullable(text),
  checked_at_utc: nullable(instant),
});
export type Probe = v.InferOutput<typeof Probe>;

export const Health = v.object({
  generated_at_utc: instant,
  overall_state: v.picklist(healthStates),
  subsystems: v.array(Subsystem),
  degraded_count: count,
  recovering_count: count,
  error_count: count,
  subsystem_probes: v.optional(v.nullable(v.record(text, Probe)), {}),
});
export type Health = v.InferOutput<typeof Health>;

export const severities = ["info", "warning", "critical"] as const;
export type Severity = (typeof severities)[number];
export const Alert = v.object({
  alert_id: text,
  severity: v.picklist(severities),
  kind: text,
  message: text,
  session_id: nullable(text),
  subsystem_key: nullable(text),
  emitted_at_utc: instant,
  acknowledged: v.optional(v.boolean(), false),
});
export type Alert = v.InferOutput<typeof Alert>;

export const Overview = v.object({
  generated_at_utc: instant,
  active_session: nullable(SessionSummary),
  latest_encounter: nullable(LatestEncounter),
  experiment_summary: nullable(ExperimentSummary),
  physiology: nullable(PhysiologySnapshot),
  health: nullable(Health),
  alerts: v.optional(v.array(Alert), []),
});
export type Overview = v.InferOutput<typeof Overview>;

/** The answer to a stimulus. */
export const StimulusAccepted = v.object({
  session_id: text,
  client_action_id: text,
  accepted: v.boolean(),
  received_at_utc: nullable(instant),
  message: nullable(text),
});
/** The answer to a start or an end. */
export const LifecycleAccepted = v.object({
  action: v.picklist(["start", "end"]),
  session_id: text,
  client_action_id: text,
  accepted: v.boolean(),
  received_at_utc: nullable(instant),
  message: nullable(text),
});
/** The answer to a deleted arm. */
export const ArmDeleted = v.object({
  experiment_id: text,
  arm: text,
  deleted: v.boolean(),
  posterior_preserved: v.boolean(),
  reason: nullable(text),
});

/** A closed 30-second window, as table `segments` has it. */
export const Segment = v.object({
  session_id: text,
  ordinal: count,
  segment_id: text,
  window_start_utc: instant,
  window_end_utc: instant,
  closed_by: text,
  closed_at: instant,
  evidence_stream: nullable(text),
  evidence_event_time: nullable(instant),
  audio_samples: count,
  video_frames: count,
  face_frames: count,
});
export type Segment = v.InferOutput<typeof Segment>;

/** How many records of a session and topic have a class. */
export const RecordClass = v.object({
  session: text,
  topic: text,
  class: text,
  reason: text,
  records: count,
});
export type RecordClass = v.InferOutput<typeof RecordClass>;

/** A record that could not be used. */
export const DeadLetter = v.object({
  topic: text,
  log_time: instant,
  session_id: nullable(text),
  reason: text,
  detail: text,
});
export type DeadLetter = v.InferOutput<typeof DeadLetter>;

/** A model's answer; of speech it counts up to which time it was listened. */
export const Inference = v.object({
  what: text,
  to_utc: instant,
  created_at: instant,
});
export type Inference = v.InferOutput<typeof Inference>;

/** The pitch of the voice in one segment, frame by frame. */
export const Pitch = v.object({
  session_id: text,
  segment_id: text,
  start_utc: instant,
  step_s: positive,
  f0_hz: v.array(v.nullable(finite)),
});
export type Pitch = v.InferOutput<typeof Pitch>;

/** A step of an arm's posterior. */
export const PosteriorUpdate = v.object({
  experiment_id: text,
  arm: text,
  at: instant,
  alpha_param: positive,
  beta_param: positive,
});
export type PosteriorUpdate = v.InferOutput<typeof PosteriorUpdate>;

/** An encounter of an experiment, as the base route lists it. */
export const LoggedEncounter = v.object({
  session_id: text,
  arm: text,
  timestamp_utc: instant,
  gated_reward: finite,
  p90_intensity: finite,
  semantic_gate: gate,
  n_frames: count,
  stimulus_time: nullable(finite),
});
export type LoggedEncounter = v.InferOutput<typeof LoggedEncounter>;

/** One physiological snapshot of a session's series. */
export const PhysiologyRow = v.object({
  subject_role: text,
  rmssd_ms: nullable(finite),
  heart_rate_bpm: nullable(finite),
  is_stale: nullable(v.boolean()),
  source_timestamp_utc: instant,
});
export type PhysiologyRow = v.InferOutput<typeof PhysiologyRow>;

/** One evaluation of co-modulation. */
export const ComodulationRow = v.object({
  window_end_utc: instant,
  co_modulation_index: nullable(finite),
  n_paired_observations: count,
  coverage_ratio: share,
});
export type ComodulationRow = v.InferOutput<typeof ComodulationRow>;

export const AttributionEvent = v.object({
  event_id: text,
  session_id: text,
  event_time_utc: instant,
  selected_arm_id: text,
  finality: text,
});
export type AttributionEvent = v.InferOutput<typeof AttributionEvent>;

export const Outcome = v.object({
  outcome_id: text,
  session_id: text,
  outcome_type: text,
  outcome_value: finite,
  outcome_time_utc: instant,
  confidence: finite,
  finality: text,
});
export type Outcome = v.InferOutput<typeof Outcome>;

export const Link = v.object({
  link_id: text,
  event_id: text,
  outcome_id: text,
  lag_s: finite,
  finality: text,
});
export type Link = v.InferOutput<typeof Link>;

/** A greeting with its links. */
export const Credited = v.object({ links: v.array(Link) });

/** Smile intensity of a session from a frame on, by columns. */
export const Trace = v.object({
  session_id: text,
  seq: v.array(count),
  time_ms: v.array(finite),
  intensity: v.array(finite),
});
export type Trace = v.InferOutput<typeof Trace>;

/** An operator of the dataflow on one worker. */
export const Operator = v.object({
  worker: count,
  operator: text,
  frontier_utc: nullable(instant),
  backlog: count,
});
export type Operator = v.InferOutput<typeof Operator>;

export const Source = v.object({
  kind: v.picklist(["partition", "session"]),
  source: text,
  state: v.picklist(["healthy", "idle", "stalled"]),
  reason: nullable(text),
  since_utc: instant,
});
export type Source = v.InferOutput<typeof Source>;

export const ExperimentId = v.object({ experiment_id: text });
