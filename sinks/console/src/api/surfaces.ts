// All surfaces of the console, each with its route, its cadence and the views it is made of.
import { computed, signal } from "@preact/signals";
import * as v from "valibot";
import { selected } from "../store/place";
import { every } from "../store/settings";
import * as r from "./records";
import { listenedUntil } from "../status";
import { Surface } from "./surface";

/** The experiment shown on its page; chosen there. */
export const chosenExperiment = signal<string | null>(null);

const of = (path: (id: string) => string) => () => (selected.value === null ? null : path(selected.value));
const always = (path: string) => () => path;

export const overview = new Surface({
  name: "Overview",
  path: always("operator/overview"),
  schema: r.Overview,
  everyMs: every("overview"),
  views: ["sessions", "session_summaries", "encounter_summaries", "encounter_log", "experiments", "physiology_current", "comodulation_log", "health", "alerts"],
});

export const alerts = new Surface({
  name: "Alerts",
  path: always("operator/alerts?limit=200"),
  schema: v.array(r.Alert),
  everyMs: every("alerts"),
  views: ["alerts"],
});

export const sessions = new Surface({
  name: "Sessions",
  path: always("operator/sessions?limit=500"),
  schema: v.array(r.SessionSummary),
  everyMs: every("sessions"),
  views: ["sessions", "session_summaries"],
});

export const header = new Surface({
  name: "Session",
  path: of((id) => `operator/sessions/${id}`),
  schema: r.SessionSummary,
  everyMs: every("session_header"),
  views: ["sessions", "session_summaries", "segments"],
});

export const encounters = new Surface({
  name: "Greetings",
  path: of((id) => `operator/sessions/${id}/encounters?limit=200`),
  schema: v.array(r.Encounter),
  everyMs: every("live_encounters"),
  views: ["encounter_summaries", "encounter_log", "stimuli", "evaluations", "attribution_score", "event_outcome_link", "metrics"],
});

/** What was listened to so far: a greeting of which nothing was heard by then will not be judged any more. */
export const inferences = new Surface({
  name: "Speech",
  path: of((id) => `operator/sessions/${id}/inferences?limit=100`),
  schema: v.array(r.Inference),
  everyMs: every("session_header"),
  views: ["inferences"],
});

/** As of the epoch of the greetings that are shown. */
export const heardUpTo = computed(() => listenedUntil(inferences.state.value.data ?? [], encounters.state.value.epoch ?? -Infinity));

export const segments = new Surface({
  name: "Segments",
  path: of((id) => `segments?session_id=${id}&limit=1000`),
  schema: v.array(r.Segment),
  everyMs: every("session_header"),
  views: ["segments"],
});

export const recordClasses = new Surface({
  name: "Records",
  path: of((id) => `operator/sessions/${id}/records`),
  schema: v.array(r.RecordClass),
  everyMs: every("session_header"),
  views: [],
});

export const deadLetters = new Surface({
  name: "Dead letters",
  path: of((id) => `views/dead_letters?session_id=${id}&limit=500`),
  schema: v.array(r.DeadLetter),
  everyMs: every("session_header"),
  views: ["dead_letters"],
});

export const pitch = new Surface({
  name: "Pitch",
  path: of((id) => `views/pitch?session_id=${id}&limit=500`),
  schema: v.array(r.Pitch),
  everyMs: every("session_header"),
  views: ["pitch"],
  optional: true,
});

const ledger = <T>(name: string, view: string, schema: v.GenericSchema<unknown, T>) =>
  new Surface({
    name,
    path: of((id) => `views/${view}?session_id=${id}&limit=1000`),
    schema: v.array(schema),
    everyMs: every("session_header"),
    views: [view],
  });
export const attributionEvents = ledger("Attribution", "attribution_event", r.AttributionEvent);
export const outcomes = ledger("Outcomes", "outcome_event", r.Outcome);
export const credits = new Surface({
  name: "Links",
  path: of((id) => `attribution/${id}`),
  schema: v.array(r.Credited),
  everyMs: every("session_header"),
  views: ["event_outcome_link"],
});

export const experimentIds = new Surface({
  name: "Experiments",
  path: always("experiments"),
  schema: v.array(r.ExperimentId),
  everyMs: every("experiments"),
  views: ["experiments"],
});

const experimentPath = (path: (id: string) => string) => () =>
  chosenExperiment.value === null ? null : path(encodeURIComponent(chosenExperiment.value));

export const experiment = new Surface({
  name: "Experiment",
  path: experimentPath((id) => `operator/experiments/${id}`),
  schema: r.ExperimentDetail,
  everyMs: every("experiments"),
  views: ["experiments", "arm_summaries", "encounter_log"],
});

/** Most steps of posteriors that are gone back through. */
export const HISTORY = 2000;

export const posteriors = new Surface({
  name: "Posterior history",
  path: experimentPath((id) => `experiments/${id}/history?limit=${HISTORY}`),
  schema: v.array(r.PosteriorUpdate),
  everyMs: every("experiments"),
  views: ["posterior_history"],
  optional: true,
});

export const rewards = new Surface({
  name: "Reward history",
  path: experimentPath((id) => `encounters?experiment_id=${id}&limit=1000`),
  schema: v.array(r.LoggedEncounter),
  everyMs: every("experiments"),
  views: ["encounter_log"],
});

export const physiology = new Surface({
  name: "Physiology",
  path: of((id) => `operator/sessions/${id}/physiology`),
  schema: r.PhysiologySnapshot,
  everyMs: every("physiology"),
  views: ["physiology_current", "physiology_log", "comodulation_log"],
});

export const physiologySeries = new Surface({
  name: "RMSSD",
  path: of((id) => `physiology/${id}?series=true&limit=5000`),
  schema: v.array(r.PhysiologyRow),
  everyMs: every("physiology"),
  views: ["physiology_log"],
});

export const comodulationSeries = new Surface({
  name: "Co-modulation",
  path: of((id) => `comodulation/${id}?limit=2000`),
  schema: v.array(r.ComodulationRow),
  everyMs: every("comodulation"),
  views: ["comodulation_log"],
});

export const health = new Surface({
  name: "Health",
  path: always("operator/health"),
  schema: r.Health,
  everyMs: every("health"),
  views: ["health"],
});

export const operators = new Surface({
  name: "Dataflow",
  path: always("views/operators?limit=1000"),
  schema: v.array(r.Operator),
  everyMs: every("health"),
  views: ["operators"],
  optional: true,
});

/** How every partition of the log and every live session does. */
export const sources = new Surface({
  name: "Sources",
  path: always("views/sources?limit=1000"),
  schema: v.array(r.Source),
  everyMs: every("health"),
  views: ["sources"],
  optional: true,
});

/** How the subsystems do, without probes: for the badge, which is on every page. */
export const subsystems = new Surface({
  name: "Subsystems",
  path: always("views/health?limit=100"),
  schema: v.array(r.SubsystemRow),
  everyMs: every("alerts"),
  views: ["health"],
});

/** The badge beside Health: what is degraded or recovers. */
export const unwell = computed(() => {
  const states = (subsystems.state.value.data ?? []).map((row) => row.state);
  return states.filter((state) => state === "degraded" || state === "recovering").length;
});
