// The engine's time as the browser sees it: log time of the newest answer, carried on by the browser's clock.
import { signal } from "@preact/signals";

/** Log time, ms, of the newest epoch that any answer or event named. */
export const newestEpoch = signal<number | null>(null);

/** An estimate of the engine's clock is kept for so long, ms; then a smaller one replaces it. */
const KEEP_MS = 30_000;
let offset: number | null = null;
let since = 0;

/** An answer was as of this epoch. */
export function noteEpoch(epoch: number): void {
  if (newestEpoch.value === null || epoch > newestEpoch.value) newestEpoch.value = epoch;
  const now = Date.now();
  if (offset === null || epoch - now > offset || now - since > KEEP_MS) {
    offset = epoch - now;
    since = now;
  }
}

/** The engine's clock now, ms; the browser's before the first answer. */
export function engineNow(): number {
  return Date.now() + (offset ?? 0);
}
