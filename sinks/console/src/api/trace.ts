// The smile trace of the selected session: fetched in pieces, from the frame after the last one.
import { effect, signal, untracked } from "@preact/signals";
import { selected } from "../store/place";
import { every } from "../store/settings";
import { Trace } from "./records";
import { Surface } from "./surface";

/** Frames kept: two hours at 30 Hz. */
const MOST = 216_000;

export interface Series {
  /** Event time, s. */
  time: number[];
  /** Smile intensity, 0 to 1; null before a gap. */
  value: (number | null)[];
}

/** What is drawn; a new object whenever frames came. */
export const series = signal<Series>({ time: [], value: [] });
/** A pause longer than this between frames is drawn as a gap, s. */
const GAP_S = 0.25;

/** What is known, without gaps, in order of time. */
let known: Series = { time: [], value: [] };
let owner: string | null = null;
/** The epoch up to which it is known. */
let upTo: number | null = null;

export const trace = new Surface({
  name: "Smile trace",
  path: () => (selected.value === null ? null : `operator/sessions/${selected.value}/au12`),
  // The rest of the query follows what is known already, without being a change of the path.
  query: () => (upTo === null ? "" : `?after=${upTo}`),
  schema: Trace,
  everyMs: every("live_encounters"),
  views: ["au12"],
});

effect(() => {
  const { data, epoch } = trace.state.value;
  untracked(() => take(data, epoch));
});

function take(answer: Trace | null, epoch: number | null): void {
  if (answer === null || answer.session_id !== owner) {
    owner = answer?.session_id ?? null;
    upTo = null;
    known = { time: [], value: [] };
    series.value = known;
  }
  if (answer === null) return;
  upTo = epoch;
  if (answer.seq.length === 0) return;
  add(answer);
  series.value = withGaps(known);
}

/** Adds frames; late ones go where their time is. */
function add(answer: Trace): void {
  const { time, value } = known;
  let late = false;
  for (let i = 0; i < answer.seq.length; i += 1) {
    const at = answer.time_ms[i]! / 1000;
    late ||= time.length > 0 && at <= time.at(-1)!;
    time.push(at);
    value.push(answer.intensity[i]!);
  }
  if (late) known = sorted(known);
  const surplus = known.time.length - MOST;
  if (surplus > 0) known = { time: known.time.slice(surplus), value: known.value.slice(surplus) };
}

function sorted({ time, value }: Series): Series {
  const byTime = new Map(time.map((at, i) => [at, value[i]!] as const));
  const pairs = [...byTime].sort((a, b) => a[0] - b[0]);
  return { time: pairs.map((pair) => pair[0]), value: pairs.map((pair) => pair[1]) };
}

/** The same with an empty point in each gap, so that no line is drawn over it. */
export function withGaps({ time, value }: Series): Series {
  const filled: Series = { time: [], value: [] };
  for (let i = 0; i < time.length; i += 1) {
    if (i > 0 && time[i]! - time[i - 1]! > GAP_S) {
      filled.time.push((time[i]! + time[i - 1]!) / 2);
      filled.value.push(null);
    }
    filled.time.push(time[i]!);
    filled.value.push(value[i]!);
  }
  return filled;
}
