// What an operator can do: each action is sent with an id of its own, and what it touches is fetched again.
import { signal } from "@preact/signals";
import * as v from "valibot";
import { type ApiError, send } from "./client";
import * as r from "./records";
import { alerts, encounters, experiment, experimentIds, header, overview, sessions } from "./surfaces";

/** Sends a stimulus under an id; a repeated id does nothing twice. */
export async function sendStimulus(sessionId: string, actionId: string, note: string | null) {
  const body = { client_action_id: actionId, operator_note: note };
  const answer = await send("POST", `operator/sessions/${sessionId}/stimulus`, r.StimulusAccepted, body);
  refresh(overview, header, alerts, encounters);
  return answer.data;
}

export async function startSession(streamUrl: string, experimentId: string, actionId: string) {
  const body = { stream_url: streamUrl, experiment_id: experimentId, client_action_id: actionId };
  const answer = await send("POST", "sessions", r.LifecycleAccepted, body);
  refresh(overview, sessions, alerts);
  return answer.data;
}

export async function endSession(sessionId: string, actionId: string) {
  const answer = await send("POST", `sessions/${sessionId}/end`, r.LifecycleAccepted, { client_action_id: actionId });
  refresh(overview, sessions, alerts, header, encounters);
  return answer.data;
}

const anything = v.unknown();

export async function createExperiment(body: { experiment_id: string; label: string; arms: { arm: string; greeting_text: string }[] }) {
  await send("POST", "experiments", anything, body);
  refresh(experimentIds, experiment);
}

const armPath = (id: string, arm: string) => `experiments/${encodeURIComponent(id)}/arms/${encodeURIComponent(arm)}`;

export async function addArm(id: string, arm: string, greeting: string) {
  await send("POST", `experiments/${encodeURIComponent(id)}/arms`, anything, { arm, greeting_text: greeting });
  refresh(experiment);
}

export async function editArm(id: string, arm: string, change: { greeting_text: string } | { enabled: false }) {
  await send("PATCH", armPath(id, arm), anything, change);
  refresh(experiment);
}

export async function deleteArm(id: string, arm: string) {
  const answer = await send("DELETE", armPath(id, arm), r.ArmDeleted);
  refresh(experiment, experimentIds);
  return answer.data;
}

function refresh(...surfaces: { refresh(): void }[]): void {
  for (const surface of surfaces) surface.refresh();
}

/** A session that was asked for to start or end, until it is read back. */
export const awaited = signal<{ action: "start" | "end"; sessionId: string } | null>(null);

export type { ApiError };
