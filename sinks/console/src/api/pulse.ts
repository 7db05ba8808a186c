// The engine's pulse: one event stream that names the views which changed, so that what is shown is fetched at
// once. While it is silent, every surface is polled at its own cadence anyway.
import { signal } from "@preact/signals";
import { noteEpoch } from "./clock";
import { apiBase } from "./client";
import { refreshReaders } from "./surface";

export type Liveness = "connecting" | "live" | "polling";
/** Whether changes are pushed, or only polled for. */
export const liveness = signal<Liveness>("connecting");

/** After the stream was refused, it is tried again after so long, ms. */
const RETRY_MS = 10_000;
let source: EventSource | null = null;
let retry: ReturnType<typeof setTimeout> | null = null;

/** Follows the pulse while the page is in sight. */
export function followPulse(): void {
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  if (!document.hidden) open();
}

function open(): void {
  close();
  source = new EventSource(new URL("pulse", apiBase), { withCredentials: true });
  source.addEventListener("open", () => (liveness.value = "live"));
  source.addEventListener("pulse", (event) => take((event as MessageEvent<string>).data));
  source.addEventListener("error", () => {
    liveness.value = "polling";
    // Closed means refused: the browser does not try again by itself.
    if (source?.readyState === EventSource.CLOSED) retry = setTimeout(open, RETRY_MS);
  });
}

function close(): void {
  if (retry !== null) clearTimeout(retry);
  retry = null;
  source?.close();
  source = null;
}

/** `{"epoch": ms, "views": [names]}`. */
function take(data: string): void {
  let pulse: { epoch?: unknown; views?: unknown };
  try {
    pulse = JSON.parse(data) as typeof pulse;
  } catch {
    return;
  }
  liveness.value = "live";
  if (typeof pulse.epoch === "number") noteEpoch(pulse.epoch, true);
  if (Array.isArray(pulse.views) && pulse.views.length > 0) refreshReaders(new Set(pulse.views.map(String)));
}
