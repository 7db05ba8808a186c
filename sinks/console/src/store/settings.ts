// Settings that the engine hands to its console: label, cadence, time limit. All have defaults.
import { signal } from "@preact/signals";
import * as v from "valibot";
import { setTimeoutMs } from "../api/client";

const positive = v.pipe(v.number(), v.integer(), v.gtValue(0));
const Settings = v.object({
  environment_label: v.optional(v.string(), "local"),
  default_experiment: v.optional(v.string(), "greeting_line_v1"),
  api_timeout_seconds: v.optional(positive, 5),
  overview_poll_ms: v.optional(positive, 3000),
  session_header_poll_ms: v.optional(positive, 3000),
  live_encounters_poll_ms: v.optional(positive, 2000),
  experiments_poll_ms: v.optional(positive, 10000),
  physiology_poll_ms: v.optional(positive, 5000),
  comodulation_poll_ms: v.optional(positive, 15000),
  health_poll_ms: v.optional(positive, 5000),
  sessions_poll_ms: v.optional(positive, 5000),
  alerts_poll_ms: v.optional(positive, 5000),
});
export type Settings = v.InferOutput<typeof Settings>;

export const settings = signal<Settings>(v.parse(Settings, {}));

/** Asks the engine for its settings once; refuses those that make no sense. */
export async function loadSettings(): Promise<void> {
  let value: unknown;
  try {
    const response = await fetch(new URL("console.json", document.baseURI), { credentials: "same-origin" });
    if (!response.ok) return;
    value = await response.json();
  } catch {
    return;
  }
  settings.value = v.parse(Settings, value);
  setTimeoutMs(settings.value.api_timeout_seconds * 1000);
}

type Interval = { [K in keyof Settings]: K extends `${infer Name}_poll_ms` ? Name : never }[keyof Settings];

/** How often a surface is fetched at least, ms. */
export const every = (surface: Interval) => () => settings.value[`${surface}_poll_ms`];
