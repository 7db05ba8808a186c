// How states look: each is one of six statuses, which have a colour, a sign and always a text.
import type { EncounterState, HealthState, Inference, LatestEncounter, Physiology, ProbeState, SessionSummary, Severity, Source } from "./api/records";
import { toMs } from "./format";
import { texts } from "./texts";

export type Status = "ok" | "info" | "warn" | "error" | "neutral" | "progress";

export const healthStatus: Record<HealthState, Status> = {
  ok: "ok",
  recovering: "progress",
  degraded: "warn",
  error: "error",
  unknown: "neutral",
};

export const probeStatus: Record<ProbeState, Status> = {
  ok: "ok",
  error: "error",
  timeout: "error",
  not_configured: "neutral",
  unknown: "neutral",
};

export const sourceStatus: Record<Source["state"], Status> = { healthy: "ok", idle: "neutral", stalled: "warn" };

export const severityStatus: Record<Severity, Status> = { info: "info", warning: "warn", critical: "error" };

export const encounterStatus: Record<EncounterState, Status> = {
  awaiting_stimulus: "neutral",
  stimulus_issued: "info",
  measuring: "progress",
  completed: "ok",
  rejected_no_frames: "warn",
  rejected_gate_closed: "warn",
};

/** A finished encounter will not change its reward any more, short of a correction. */
export function finished(state: EncounterState): boolean {
  return state === "completed" || state === "rejected_no_frames" || state === "rejected_gate_closed";
}

/** The measurement window ends so long after the stimulus, ms: words after it are not the greeting's. */
export const MEASURE_MS = 5000;

/** What was heard is judged within so much log time, ms: until then a greeting without a judgement may still get one. */
const JUDGED_MS = 3000;

/** Until when a session's sound has been listened to, and what was heard judged, as of an epoch; ms. */
export function listenedUntil(inferences: readonly Inference[], epoch: number): number {
  const settled = inferences.filter((i) => i.what === "speech" && (toMs(i.created_at) ?? Infinity) + JUDGED_MS <= epoch);
  return Math.max(-Infinity, ...settled.map((i) => toMs(i.to_utc) ?? -Infinity));
}

/** Nothing was heard after this greeting, so it is not judged: the engine keeps it as measured, without a reward. */
export function unheard(e: LatestEncounter, heardUpTo: number): boolean {
  const at = toMs(e.stimulus_time_utc);
  return e.state === "measuring" && e.semantic_evaluation === null && at !== null && heardUpTo >= at + MEASURE_MS;
}

/** The card of the latest encounter warns when nothing was rewarded. */
export function latestStatus(encounter: LatestEncounter): Status {
  if (!finished(encounter.state)) return encounterStatus[encounter.state];
  return encounter.semantic_gate === 0 || encounter.n_frames_in_window === 0 ? "warn" : "ok";
}

/** Without the flag a snapshot is stale from this age on, s, as in the pipeline. */
const STALE_S = 600;
export type PhysiologyState = "fresh" | "stale" | "no-rmssd" | "absent";

export function isStale(snapshot: Physiology): boolean {
  return snapshot.is_stale ?? (snapshot.freshness_s ?? 0) >= STALE_S;
}

export function physiologyState(snapshot: Physiology | null): PhysiologyState {
  if (snapshot === null) return "absent";
  if (snapshot.rmssd_ms === null) return "no-rmssd";
  return isStale(snapshot) ? "stale" : "fresh";
}

/** Both people at a glance: stale as soon as one of them is, absent while nobody has an RMSSD. */
export function physiologyOverall(people: readonly (Physiology | null)[]): "fresh" | "stale" | "absent" {
  const known = people.filter((p) => p !== null);
  if (known.every((p) => p.rmssd_ms === null)) return "absent";
  return known.some(isStale) ? "stale" : "fresh";
}

export const physiologyStatus: Record<PhysiologyState, Status> = {
  fresh: "ok",
  stale: "warn",
  "no-rmssd": "neutral",
  absent: "neutral",
};

export interface Calibration {
  status: Status;
  text: string;
  ready: boolean;
}

/** Whether a greeting may be sent. What is unknown counts as ready. */
export function calibration(session: SessionSummary | null): Calibration {
  if (session === null) return { status: "neutral", text: texts.calibration.none, ready: false };
  const { is_calibrating, calibration_frames_accumulated: have, calibration_frames_required: want } = session;
  const enough = have !== null && want !== null && have >= want;
  if (is_calibrating !== true || enough) return { status: "ok", text: texts.calibration.ready, ready: true };
  const text = have === null || want === null ? texts.calibration.starting : texts.calibration.progress(Math.min(have, want), want);
  return { status: "progress", text, ready: false };
}
