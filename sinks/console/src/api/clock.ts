// The engine's time as the browser sees it: log time of the newest answer, carried on by the browser's clock; and
// whether the engine goes on at all.
import { signal } from "@preact/signals";

/** Log time, ms, of the newest epoch that any answer or event named. */
export const newestEpoch = signal<number | null>(null);
/** For how long no new epoch came, s; null while the engine goes on. */
export const stillFor = signal<number | null>(null);

/** An engine says each second how far it is; one that has not for so long stands still, ms. */
export const STILL_MS = 10_000;
/** An estimate of the engine's clock is kept for so long, ms; then a smaller one replaces it. */
const KEEP_MS = 30_000;
let offset: number | null = null;
let since = 0;
let advanced = 0;

/** An answer was as of this epoch; an event stream names them in order, also where an engine begins anew. */
export function noteEpoch(epoch: number, inOrder = false): void {
  const now = Date.now();
  const newest = newestEpoch.value;
  if (newest === null || epoch > newest || (inOrder && epoch !== newest)) {
    newestEpoch.value = epoch;
    awaitEpoch();
  }
  if (offset === null || epoch - now > offset || now - since > KEEP_MS) {
    offset = epoch - now;
    since = now;
  }
}

/** The next epoch is awaited from now on: one came, or the page is in sight again. */
export function awaitEpoch(): void {
  advanced = Date.now();
  stillFor.value = null;
}

/** Looks once a second whether the engine goes on, while the page is in sight. */
export function followEpochs(): void {
  awaitEpoch();
  document.addEventListener("visibilitychange", awaitEpoch);
  setInterval(() => {
    if (document.hidden || newestEpoch.value === null) return;
    const quiet = Date.now() - advanced;
    // In steps, for what changes each second is read out each second.
    stillFor.value = quiet > STILL_MS ? Math.floor(quiet / STILL_MS) * (STILL_MS / 1000) : null;
  }, 1000);
}

/** The engine's clock now, ms; the browser's before the first answer. */
export function engineNow(): number {
  return Date.now() + (offset ?? 0);
}
