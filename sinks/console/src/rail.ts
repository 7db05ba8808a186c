// The action rail as a pure machine: six states, one submission at a time, each with its own id.
import type { Alert, Encounter } from "./api/records";
import { toMs } from "./format";
import { MEASURE_MS, finished, unheard } from "./status";

export type Phase = "idle" | "submitting" | "accepted" | "measuring" | "completed" | "failed";

export interface Rail {
  phase: Phase;
  /** The submission's id; a retry after a transport error keeps it. */
  actionId: string | null;
  /** Alerts that were there when it was submitted: none of them is about it. */
  known: ReadonlySet<string>;
  /** The encounter that it became. */
  encounter: Encounter | null;
  message: string | null;
  /** Whether it is unknown if the failed submission arrived: then a retry is the same action. */
  unsure: boolean;
}

export const idle: Rail = { phase: "idle", actionId: null, known: new Set(), encounter: null, message: null, unsure: false };

export type RailEvent =
  | { type: "session" }
  | { type: "submit"; newId: string; alerts: readonly Alert[] }
  | { type: "answered"; actionId: string; accepted: boolean; message: string | null }
  | { type: "failed"; actionId: string; message: string; unsure: boolean }
  | { type: "alerts"; sessionId: string; alerts: readonly Alert[]; message: (alert: Alert) => string }
  | { type: "encounters"; encounters: readonly Encounter[]; heardUpTo: number };

/** Whether a submission may be made in this phase. */
export const maySubmit = (phase: Phase) => phase === "idle" || phase === "completed" || phase === "failed";

export function step(rail: Rail, event: RailEvent): Rail {
  switch (event.type) {
    case "session":
      return idle;
    case "submit":
      return maySubmit(rail.phase) ? submitted(rail, event.newId, event.alerts) : rail;
    case "answered":
      if (rail.phase !== "submitting" || event.actionId !== rail.actionId) return rail;
      return event.accepted
        ? { ...rail, phase: "accepted", message: event.message, unsure: false }
        : { ...rail, phase: "failed", message: event.message, unsure: false };
    case "failed":
      if (rail.phase !== "submitting" || event.actionId !== rail.actionId) return rail;
      return { ...rail, phase: "failed", message: event.message, unsure: event.unsure };
    case "encounters":
      return followed(rail, event.encounters, event.heardUpTo);
    case "alerts":
      return refused(rail, event);
  }
}

function submitted(rail: Rail, newId: string, alerts: readonly Alert[]): Rail {
  // A retry of what may have arrived is the same action, and looks for the same encounter.
  if (rail.phase === "failed" && rail.unsure) return { ...rail, phase: "submitting", message: null };
  return { ...idle, phase: "submitting", actionId: newId, known: new Set(alerts.map((a) => a.alert_id)) };
}

/** An encounter has the id of the action that sent its greeting: no older one, and nobody else's, is taken for it. */
function followed(rail: Rail, encounters: readonly Encounter[], heardUpTo: number): Rail {
  if (rail.phase !== "accepted" && rail.phase !== "measuring") return rail;
  const own = encounters.find((e) => e.encounter_id === rail.actionId);
  if (own === undefined || own.stimulus_time_utc === null) return rail;
  const phase = finished(own.state) || unheard(own, heardUpTo) ? "completed" : "measuring";
  return { ...rail, phase, encounter: own };
}

/** Accepted by the API is not yet accepted by the graph: what that refuses, an alert tells. */
function refused(rail: Rail, { sessionId, alerts, message }: RailEvent & { type: "alerts" }): Rail {
  if (rail.phase !== "accepted") return rail;
  const why = alerts.find((a) => a.kind === "stimulus_failed" && a.session_id === sessionId && !rail.known.has(a.alert_id));
  return why === undefined ? rail : { ...rail, phase: "failed", message: message(why), unsure: false };
}

/** A segment closes when its streams have passed its end by so much, ms. */
const LATENESS_MS = 2000;

export type Countdown = { phase: "measure" | "process"; seconds: number } | { phase: "late" };

/** What is left of a measurement at an instant of the engine's clock: first its window, then its judgement. */
export function countdown(encounter: Encounter, now: number): Countdown | null {
  const stimulus = toMs(encounter.stimulus_time_utc);
  if (stimulus === null || finished(encounter.state)) return null;
  const measured = stimulus + MEASURE_MS;
  const judged = Math.max(toMs(encounter.segment_timestamp_utc) ?? measured, measured) + LATENESS_MS;
  const left = (end: number) => Math.max(0, Math.ceil((end - now) / 1000));
  if (now < measured) return { phase: "measure", seconds: left(measured) };
  return now < judged ? { phase: "process", seconds: left(judged) } : { phase: "late" };
}
