// The action rail's six states, its retry, and what may complete a submission.
import { describe, expect, it } from "vitest";
import type { Encounter, EncounterState } from "./api/records";
import { type Rail, countdown, idle, step } from "./rail";

function encounter(id: string, at: string, state: EncounterState): Encounter {
  return {
    encounter_id: id, session_id: "s", segment_timestamp_utc: "2026-01-05T10:00:30Z", state, active_arm: "a",
    expected_greeting: "hello", stimulus_time_utc: at, semantic_gate: null, semantic_confidence: null, p90_intensity: null,
    gated_reward: null, n_frames_in_window: null, baseline_b_neutral: null, physiology_attached: false,
    physiology_stale: null, notes: [], observational_acoustic: null, semantic_evaluation: null, attribution: null,
  };
}
const old = encounter("old", "2026-01-05T10:00:10Z", "completed");
const own = (state: EncounterState) => encounter("1", "2026-01-05T10:00:20Z", state);
const submit = (rail: Rail, newId: string) => step(rail, { type: "submit", newId, alerts: [] });

describe("the rail", () => {
  it("goes from idle through all states to completed", () => {
    let rail = submit(idle, "1");
    expect(rail).toMatchObject({ phase: "submitting", actionId: "1" });
    rail = step(rail, { type: "answered", actionId: "1", accepted: true, message: null });
    expect(rail.phase).toBe("accepted");
    rail = step(rail, { type: "encounters", encounters: [own("stimulus_issued"), old], heardUpTo: -Infinity });
    expect(rail.phase).toBe("measuring");
    rail = step(rail, { type: "encounters", encounters: [own("rejected_gate_closed"), old], heardUpTo: -Infinity });
    expect(rail).toMatchObject({ phase: "completed", encounter: { encounter_id: "1" } });
    expect(submit(rail, "2")).toMatchObject({ phase: "submitting", actionId: "2", encounter: null });
  });
  it("is never completed by an encounter older than the submission, nor by another's", () => {
    let rail = submit(idle, "1");
    rail = step(rail, { type: "answered", actionId: "1", accepted: true, message: null });
    const unseen = encounter("unseen", "2026-01-05T10:00:05Z", "completed");
    const other = encounter("other", "2026-01-05T10:00:30Z", "completed");
    expect(step(rail, { type: "encounters", encounters: [old, unseen, other], heardUpTo: -Infinity }).phase).toBe("accepted");
  });
  it("is free again when nothing was heard after the greeting, which the engine does not judge then", () => {
    let rail = step(submit(idle, "1"), { type: "answered", actionId: "1", accepted: true, message: null });
    const heard = (s: number) => Date.parse("2026-01-05T10:00:20Z") + s * 1000;
    rail = step(rail, { type: "encounters", encounters: [own("measuring")], heardUpTo: heard(4.9) });
    expect(rail.phase).toBe("measuring");
    rail = step(rail, { type: "encounters", encounters: [own("measuring")], heardUpTo: heard(5) });
    expect(rail).toMatchObject({ phase: "completed", encounter: { state: "measuring" } });
  });
  it("keeps the id when a retry follows a transport error, and takes a new one after a refusal", () => {
    const lost = step(submit(idle, "1"), { type: "failed", actionId: "1", message: "gone", unsure: true });
    expect(submit(lost, "2")).toMatchObject({ phase: "submitting", actionId: "1" });
    const refused = step(submit(idle, "1"), { type: "failed", actionId: "1", message: "no", unsure: false });
    expect(submit(refused, "2")).toMatchObject({ phase: "submitting", actionId: "2" });
  });
  it("fails when an alert tells that the graph refused what the API had taken", () => {
    const alert = (id: string, kind: string, session: string) => ({ alert_id: id, severity: "warning" as const, kind, message: "why", session_id: session, subsystem_key: null, emitted_at_utc: "2026-01-05T10:00:21Z", acknowledged: false });
    const before = alert("1", "stimulus_failed", "s");
    const submitted = step(idle, { type: "submit", newId: "1", alerts: [before] });
    const accepted = step(submitted, { type: "answered", actionId: "1", accepted: true, message: null });
    const told = (...alerts: (typeof before)[]) => step(accepted, { type: "alerts", sessionId: "s", alerts, message: (a) => a.message });
    expect(told(before, alert("2", "stimulus_failed", "other"), alert("3", "data_gap", "s"))).toBe(accepted);
    expect(told(alert("4", "stimulus_failed", "s"))).toMatchObject({ phase: "failed", message: "why", unsure: false });
  });
  it("takes one submission at a time and no stranger's answer", () => {
    const rail = submit(idle, "1");
    expect(submit(rail, "2")).toBe(rail);
    expect(step(rail, { type: "answered", actionId: "0", accepted: true, message: null })).toBe(rail);
  });
  it("forgets all when another session is selected", () => {
    expect(step(submit(idle, "1"), { type: "session" })).toBe(idle);
  });
});

describe("the countdown", () => {
  const at = (s: number) => Date.parse("2026-01-05T10:00:20Z") + s * 1000;
  it("counts the window, then the judgement, and never below zero", () => {
    expect(countdown(own("stimulus_issued"), at(0))).toEqual({ phase: "measure", seconds: 5 });
    expect(countdown(own("stimulus_issued"), at(4.2))).toEqual({ phase: "measure", seconds: 1 });
    expect(countdown(own("measuring"), at(5))).toEqual({ phase: "process", seconds: 7 });
    expect(countdown(own("measuring"), at(60))).toEqual({ phase: "late" });
    expect(countdown(own("completed"), at(1))).toBeNull();
  });
});
