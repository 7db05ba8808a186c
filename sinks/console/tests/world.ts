// A made-up engine for design and for tests of states that a real one shows seldom: answers by path, from a world
// that tests may bend.

const T0 = Date.parse("2026-01-05T10:00:00Z");
const iso = (s: number) => new Date(T0 + s * 1000).toISOString().replace(".000", "");
export const SESSION = "b8267505-e08b-479b-8df8-1d08ec3cbbef";
export const ENDED = "0c9d2f6e-5b1a-4c63-9d27-2f1f3f6f9a10";

/** Smile intensity at a second: a resting face, and a smile after each greeting. */
function smile(t: number): number {
  const smiles: [number, number][] = [[10, 0.91], [56.5, 0.58], [75, 0.29], [91, 0.74]];
  const rest = 0.01 + 0.008 * Math.abs(Math.sin(t * 1.7));
  for (const [at, peak] of smiles) {
    const x = t - at - 0.8;
    if (x < 0 || x > 3.8) continue;
    const shape = x < 0.3 ? x / 0.3 : x < 3.3 ? 1 : 1 - (x - 3.3) / 0.5;
    return rest + peak * shape * (0.985 + 0.02 * Math.sin(t * 9));
  }
  return rest;
}

function encounter(at: number, extra: object) {
  return {
    encounter_id: `e${at}`,
    session_id: SESSION,
    segment_timestamp_utc: iso(Math.ceil(at / 30) * 30),
    state: "completed",
    active_arm: "warm_welcome",
    expected_greeting: "Hello and a very warm welcome, it is so good to have you here!",
    stimulus_time_utc: iso(at),
    semantic_gate: 1,
    semantic_confidence: 0.94,
    p90_intensity: 0.911,
    gated_reward: 0.911,
    n_frames_in_window: 135,
    baseline_b_neutral: 0.009,
    physiology_attached: true,
    physiology_stale: false,
    notes: [] as string[],
    observational_acoustic: {
      f0_valid_measure: true, f0_valid_baseline: true, perturbation_valid_measure: true, perturbation_valid_baseline: false,
      voiced_coverage_measure_s: 2.31, voiced_coverage_baseline_s: 1.24, f0_mean_measure_hz: 213.4, f0_mean_baseline_hz: 196.2,
      f0_delta_semitones: 1.456, jitter_mean_measure: 0.0123, jitter_mean_baseline: null, jitter_delta: null,
      shimmer_mean_measure: 0.0811, shimmer_mean_baseline: null, shimmer_delta: null,
    },
    semantic_evaluation: { reasoning: "cross_encoder_high_match", is_match: true, confidence_score: 0.94, semantic_method: "cross_encoder", semantic_method_version: "v1" },
    attribution: {
      finality: "online_provisional", soft_reward_candidate: 0.853, au12_baseline_pre: 0.009, au12_lift_p90: 0.902, au12_lift_peak: 0.93,
      au12_peak_latency_ms: 1350, sync_peak_corr: 0.412, sync_peak_lag: -2, outcome_link_lag_s: 22.4,
    },
    ...extra,
  };
}

const arm = (id: string, greeting: string, alpha: number, beta: number, n: number, reward: number | null, pass: number | null, extra: object = {}) => ({
  arm_id: id, greeting_text: greeting, posterior_alpha: alpha, posterior_beta: beta,
  evaluation_variance: (alpha * beta) / ((alpha + beta) ** 2 * (alpha + beta + 1)),
  selection_count: n, recent_reward_mean: reward, recent_semantic_pass_rate: pass, enabled: true, end_dated_at: null, ...extra,
});

const subsystem = (key: string, label: string, state: string, extra: object = {}) => ({
  subsystem_key: key, label, state, last_success_utc: iso(91), detail: "wrote 4 s ago", recovery_mode: null, operator_action_hint: null, ...extra,
});

export function makeWorld() {
  const session = {
    session_id: SESSION, status: "active", started_at_utc: iso(0), ended_at_utc: null as string | null, duration_s: 96, experiment_id: "greeting_line_v1",
    active_arm: "warm_welcome", expected_greeting: "Hello and a very warm welcome, it is so good to have you here!",
    last_segment_completed_at_utc: iso(92), latest_reward: 0.293, latest_semantic_gate: 1,
    is_calibrating: false, calibration_frames_accumulated: 45, calibration_frames_required: 45,
  };
  const encounters = [
    encounter(91, { state: "measuring", semantic_gate: null, gated_reward: null, semantic_evaluation: null, semantic_confidence: null, p90_intensity: 0.743, physiology_attached: false, observational_acoustic: null, attribution: null }),
    encounter(75, { p90_intensity: 0.293, gated_reward: 0.293, semantic_confidence: 0.81, physiology_stale: true }),
    encounter(56.5, { state: "rejected_gate_closed", semantic_gate: 0, p90_intensity: 0.585, gated_reward: 0, semantic_confidence: 0.06, notes: ["The gate was closed."], semantic_evaluation: { reasoning: "cross_encoder_high_nonmatch", is_match: false, confidence_score: 0.06, semantic_method: "cross_encoder", semantic_method_version: "v1" } }),
    encounter(10, {}),
  ];
  const person = (role: string, extra: object) => ({ subject_role: role, rmssd_ms: 42.3, heart_rate_bpm: 68, provider: "oura", source_timestamp_utc: iso(60), freshness_s: 31, is_stale: false, ...extra });
  const health = {
    generated_at_utc: iso(96), overall_state: "degraded", degraded_count: 1, recovering_count: 1, error_count: 0,
    subsystems: [
      subsystem("metrics", "Metrics", "ok"),
      subsystem("physiology", "Physiology", "degraded", { detail: "newest row 184 s ago", recovery_mode: "physio_adapter_retry", operator_action_hint: "Check the provider's webhook delivery and the ingress log." }),
      subsystem("comodulation", "Co-modulation", "recovering", { detail: "newest row 61 s ago", recovery_mode: "awaiting_alignment", operator_action_hint: "No index is valid until aligned fresh pairs exist." }),
      subsystem("encounters", "Encounters", "ok"),
      subsystem("capture", "Capture", "ok"),
      subsystem("vault", "Vault", "unknown", { last_success_utc: null, detail: "no signal yet" }),
    ],
    // In the order of their keys, as the engine sends them.
    subsystem_probes: Object.fromEntries(
      ([["azure_openai", "Language model", "not_configured", null], ["orchestrator", "Engine", "unknown", null], ["postgres", "PostgreSQL", "ok", 3.2], ["redis", "Kafka", "ok", 1.4], ["whisper_worker", "Speech", "timeout", 1000]] as const).map(
        ([key, label, state, latency]) => [key, { subsystem_key: key, label, state, latency_ms: latency, detail: null, checked_at_utc: iso(95) }],
      ),
    ) as Record<string, unknown>,
  };
  return {
    session,
    sessions: [session, { ...session, session_id: ENDED, status: "ended", started_at_utc: iso(-4000), ended_at_utc: iso(-300), duration_s: 3700, active_arm: "simple_hello", latest_reward: 0.12 }],
    encounters,
    experiment: {
      experiment_id: "greeting_line_v1", label: "Greeting line", active_arm_id: "warm_welcome",
      arms: [
        arm("compliment_content", "I have been watching your stream all week, it is brilliant!", 6.1, 7.9, 12, 0.425, 0.75),
        arm("direct_question", "What are you working on today?", 3.2, 9.8, 11, 0.2, 0.5454),
        arm("simple_hello", "Hello!", 1.4, 4.6, 4, 0.1, 1, { enabled: false, end_dated_at: iso(-900) }),
        arm("warm_welcome", "Hello and a very warm welcome, it is so good to have you here!", 14.205, 6.795, 19, 0.695, 0.8947),
      ],
      last_update_summary: "warm_welcome +0.293: α 13.912 → 14.205, β 6.088 → 6.795", last_updated_utc: iso(92),
    },
    physiology: {
      session_id: SESSION, streamer: person("streamer", {}) as object | null, operator: person("operator", { rmssd_ms: 35, heart_rate_bpm: 74, freshness_s: 690, is_stale: true, provider: "polar" }) as object | null,
      comodulation: { session_id: SESSION, co_modulation_index: 0.512, n_paired_observations: 8, coverage_ratio: 0.8, streamer_rmssd_mean: 41.2, operator_rmssd_mean: 35.9, null_reason: null, window_start_utc: iso(-510), window_end_utc: iso(90) } as object | null,
      generated_at_utc: iso(96),
    },
    health,
    alerts: [
      { alert_id: "a1", severity: "warning", kind: "physiology_stale", message: "The operator's physiology is 690 s old.", session_id: SESSION, subsystem_key: "physiology", emitted_at_utc: iso(84), acknowledged: false },
      { alert_id: "a2", severity: "critical", kind: "subsystem_error", message: "Speech does not answer: 3 attempts, each 1 s.", session_id: null, subsystem_key: "asr", emitted_at_utc: iso(40), acknowledged: false },
      { alert_id: "a3", severity: "info", kind: "session_ended", message: "Session 0c9d2f6e ended.", session_id: ENDED, subsystem_key: null, emitted_at_utc: iso(-300), acknowledged: true },
    ] as object[],
    sources: [
      { kind: "partition", source: "av.audio-0", state: "stalled", reason: "held back by the byte budget, or for others to catch up" as string | null, since_utc: iso(80) },
      { kind: "partition", source: "control-0", state: "healthy", reason: null, since_utc: iso(0) },
      { kind: "partition", source: "physio-0", state: "idle", reason: "no records", since_utc: iso(60) },
      { kind: "session", source: SESSION, state: "healthy", reason: null, since_utc: iso(0) },
    ],
    /** How long the smile has been measured, s. */
    traceS: 91,
    /** Until when the sound has been listened to, s. */
    heardTo: 88,
    /** Whether there is nothing yet: no session, no experiment, no row. */
    nothing: false,
    /** Paths whose answers come so much later, ms. */
    late: new Map<string, number>(),
    /** What was asked for, without queries. */
    asked: [] as string[],
    /** What the console is told; null: the engine has no word on it. */
    settings: null as object | null,
    /** Paths that answer with this status instead. */
    failing: new Map<string, number>(),
    role: null as string | null,
    /** The token that logs in. */
    token: "right",
    /** What was sent to it. */
    sent: [] as { method: string; path: string; body: unknown }[],
    /** The session that a start asks for. */
    started: SESSION,
    /** The answer to a stimulus: a status, or none at all. */
    stimulus: 200 as number | "lost",
    epoch: T0 + 96_000,
    /** The views that change four times a second; null: there is no event stream. */
    pulse: null as string[] | null,
  };
}
export type World = ReturnType<typeof makeWorld>;

export interface Reply {
  status: number;
  body: unknown;
}

const ok = (body: unknown): Reply => ({ status: 200, body });
const missing: Reply = { status: 404, body: { detail: "no such route" } };

/** Answers a request to the API; null breaks the connection. */
export function answer(world: World, method: string, url: string, body: unknown): Reply | null {
  const { pathname, searchParams } = new URL(url, "http://localhost");
  const path = pathname.replace(/^\/api\/v1\//, "");
  if (method === "GET") world.asked.push(path);
  for (const [prefix, status] of world.failing) if (path.startsWith(prefix)) return status === 0 ? null : { status, body: { detail: `made to fail (${status})` } };
  if (method !== "GET") return act(world, method, path, body);
  if (path === "/whoami") return ok({ name: "test", role: world.role });
  if (world.nothing) return nothing(path);
  const seen = searchParams.get("session_id") ?? path.split("/").find((part) => part.length === 36);
  const mine = seen === undefined || seen === null || seen === SESSION;
  const session = world.sessions.find((s) => s.session_id === seen);
  if (path === "operator/overview") {
    const { label, experiment_id, active_arm_id, arms, last_updated_utc } = world.experiment;
    return ok({
      generated_at_utc: iso(96), active_session: world.session.status === "active" ? world.session : null, latest_encounter: world.encounters[1] ?? null,
      experiment_summary: { experiment_id, label, active_arm_id, arm_count: arms.length, last_updated_utc, latest_reward: 0.293 },
      physiology: world.physiology, health: world.health, alerts: world.alerts,
    });
  }
  if (path === "operator/sessions") return ok(world.sessions);
  if (/^operator\/sessions\/[^/]+$/.test(path)) return session === undefined ? { status: 404, body: { detail: `no session ${seen}` } } : ok(session);
  if (path.endsWith("/encounters")) return ok(mine ? world.encounters : []);
  if (path.endsWith("/au12")) return ok(traceOf(seen ?? "", mine ? world.traceS : 0, Number(searchParams.get("after") ?? T0)));
  if (path === "segments") return ok(mine ? segments() : []);
  if (/^operator\/sessions\/[^/]+\/records$/.test(path)) return ok(mine ? recordClasses() : []);
  if (/^operator\/sessions\/[^/]+\/inferences$/.test(path)) return ok(mine ? [{ what: "speech", to_utc: iso(world.heardTo), created_at: iso(0) }] : []);
  if (path === "views/dead_letters") return ok([]);
  if (path === "views/pitch") return ok(mine ? pitch() : []);
  if (/^experiments\/[^/]+\/history$/.test(path)) return ok(posteriorHistory());
  if (path === "experiments") return ok([{ experiment_id: world.experiment.experiment_id }]);
  if (path.startsWith("operator/experiments/")) return ok(world.experiment);
  if (path === "encounters") return ok(rewards());
  if (path.startsWith("operator/sessions/") && path.endsWith("/physiology")) return ok(mine ? world.physiology : { session_id: seen, streamer: null, operator: null, comodulation: null, generated_at_utc: iso(96) });
  if (path.startsWith("physiology/")) return ok(mine ? physiologySeries() : []);
  if (path.startsWith("comodulation/")) return ok(mine ? comodulationSeries() : []);
  if (path === "operator/health") return ok(world.health);
  if (path === "operator/alerts") return ok(world.alerts);
  if (path === "views/operators") return ok(operators());
  if (path === "views/sources") return ok(world.sources);
  if (path === "views/attribution_event") return ok(mine ? [10, 56.5, 75].map((at) => ({ event_id: `v${at}`, session_id: SESSION, event_time_utc: iso(at), selected_arm_id: "warm_welcome", finality: "online_provisional" })) : []);
  if (path === "views/outcome_event") return ok(mine ? [32.4, 88].map((at) => ({ outcome_id: `o${at}`, session_id: SESSION, outcome_type: "creator_follow", outcome_value: 1, outcome_time_utc: iso(at), confidence: 1, finality: "online_provisional" })) : []);
  if (path.startsWith("attribution/")) return ok(!mine ? [] : [["v10", "o32.4", 22.4, "offline_final"], ["v10", "o88", 78, "online_provisional"], ["v75", "o88", 13, "online_provisional"]].map(([event_id, outcome_id, lag_s, finality], i) => ({ links: [{ link_id: `l${i}`, event_id, outcome_id, lag_s, finality }] })));
  if (path === "views/health") return ok(world.health.subsystems);
  return missing;
}

/** What an engine answers that was just started for the first time. */
function nothing(path: string): Reply {
  const health = { generated_at_utc: iso(96), overall_state: "unknown", subsystems: [], degraded_count: 0, recovering_count: 0, error_count: 0, subsystem_probes: {} };
  if (path === "operator/overview") return ok({ generated_at_utc: iso(96), active_session: null, latest_encounter: null, experiment_summary: null, physiology: null, health: null, alerts: [] });
  if (path === "operator/health") return ok(health);
  return ok([]);
}

function act(world: World, method: string, path: string, body: unknown): Reply | null {
  world.sent.push({ method, path, body });
  const sent = (body ?? {}) as Record<string, string>;
  const receipt = { session_id: SESSION, client_action_id: sent.client_action_id, accepted: true, received_at_utc: iso(96), message: null };
  if (path.endsWith("/stimulus")) return world.stimulus === "lost" ? null : world.stimulus === 200 ? ok(receipt) : { status: world.stimulus, body: { detail: "a measurement window is open" } };
  if (path === "sessions") return ok({ ...receipt, session_id: world.started, action: "start" });
  if (path.endsWith("/end")) return ok({ ...receipt, action: "end" });
  if (method === "DELETE" && path.includes("/arms/")) return ok({ experiment_id: "greeting_line_v1", arm: path.split("/").at(-1), deleted: false, posterior_preserved: true, reason: "encounters exist", arm_state: null });
  return { status: method === "POST" ? 201 : 200, body: {} };
}

/** Frames after an epoch, 30 a second from 5 s on, with a gap in which no face was seen. */
function traceOf(session: string, seconds: number, after: number) {
  const first = Math.max(0, Math.floor(((after - T0) / 1000 - 5) * 30));
  const last = Math.round(seconds * 30);
  const frames = Array.from({ length: Math.max(0, last - first) }, (_, i) => first + i).filter((i) => i < 1080 || i > 1140);
  return { session_id: session, seq: frames.map((i) => 150 + i), time_ms: frames.map((i) => T0 + 5000 + (i * 1000) / 30), intensity: frames.map((i) => smile(5 + i / 30)) };
}

const segments = () =>
  ["complete", "complete", "stalled", "complete", "max_wait", "ended"].map((closed_by, i) => ({
    session_id: SESSION, ordinal: i + 1, segment_id: "00", window_start_utc: iso(i * 30), window_end_utc: iso(i * 30 + 30), closed_by,
    closed_at: iso(i * 30 + 32.25), evidence_stream: closed_by === "max_wait" ? null : "video", evidence_event_time: iso(i * 30 + 32),
    audio_samples: 480_000, video_frames: 900, face_frames: i === 1 ? 840 : i === 2 ? 400 : 900,
  }));

const recordClasses = () => [
  { session: SESSION, topic: "av.audio", class: "used", reason: "", records: 960 },
  { session: SESSION, topic: "av.video", class: "used", reason: "", records: 2880 },
  { session: SESSION, topic: "av.video", class: "late", reason: "window_closed", records: 3 },
  { session: SESSION, topic: "av.video", class: "filed", reason: "malformed", records: 1 },
];

const pitch = () =>
  [10, 56.5, 75].map((at) => ({
    session_id: SESSION, segment_id: String(at), start_utc: iso(at - 5), step_s: 0.05,
    f0_hz: Array.from({ length: 200 }, (_, i) => (i > 100 && i < 170 && i % 23 > 4 ? 200 + 25 * Math.sin(i / 9) : null)),
  }));

function posteriorHistory() {
  const steps = rewards();
  const state = new Map<string, [number, number]>();
  return [...steps].reverse().map((e) => {
    const [alpha, beta] = state.get(e.arm) ?? [1, 1];
    const next: [number, number] = [alpha + e.gated_reward, beta + 1 - e.gated_reward];
    state.set(e.arm, next);
    return { experiment_id: "greeting_line_v1", arm: e.arm, at: e.timestamp_utc, alpha_param: next[0], beta_param: next[1], moved_by: [] };
  });
}

function rewards() {
  const arms = ["compliment_content", "direct_question", "simple_hello", "warm_welcome"];
  const means = [0.42, 0.2, 0.1, 0.7];
  return Array.from({ length: 46 }, (_, i) => {
    const a = i % 5 === 4 ? 3 : (i * 7) % 4;
    const gate = (i * 13) % 6 === 0 ? 0 : 1;
    const p90 = Math.min(1, Math.max(0.02, means[a]! + 0.22 * Math.sin(i * 2.3)));
    return { session_id: SESSION, arm: arms[a]!, timestamp_utc: iso(92 - i * 77), gated_reward: gate * p90, p90_intensity: p90, semantic_gate: gate, n_frames: 135, stimulus_time: T0 / 1000 + 75 - i * 77 };
  });
}

const physiologySeries = () =>
  Array.from({ length: 40 }, (_, i) => i).flatMap((i) => [
    { subject_role: "streamer", rmssd_ms: 42 + 9 * Math.sin(i / 4), heart_rate_bpm: 68, is_stale: false, source_timestamp_utc: iso(i * 60 - 2400) },
    { subject_role: "operator", rmssd_ms: i === 20 ? null : 35 + 7 * Math.sin(i / 4 + 0.6), heart_rate_bpm: 74, is_stale: false, source_timestamp_utc: iso(i * 60 - 2400) },
  ]);

const comodulationSeries = () =>
  Array.from({ length: 20 }, (_, i) => ({ window_end_utc: iso(i * 120 - 2400), co_modulation_index: i < 4 ? null : 0.8 * Math.sin(i / 5), n_paired_observations: i < 4 ? i : 8, coverage_ratio: i < 4 ? i / 10 : 0.8 }));

const operators = () =>
  ["ingest", "decode", "align", "infer", "telemetry", "measure", "select_arm", "encounters", "rewards", "ledger", "commit"].map((name, i) => ({
    worker: 0, operator: name, frontier_utc: iso(96 - (i > 2 ? 1.25 : 0)), backlog: name === "infer" ? 37 : 0,
  }));
