// Where the operators of the dataflow stand: in the order of the graph, how far each lags, and which one the others
// wait for.
import type { Operator } from "./api/records";
import { toMs } from "./format";

/** Operators in the order of the graph; those it does not know follow. */
const ORDER = ["ingest", "decode", "align", "infer", "measure", "telemetry", "select_arm", "evaluated", "encounters", "rewards", "ledger", "watch", "commit"];

export interface Standing {
  operator: Operator;
  /** How far its frontier is behind the furthest one, ms; null once nothing comes any more. */
  lagMs: number | null;
  /** Whether what follows it waits for it. */
  holds: boolean;
}

export function standings(operators: readonly Operator[]): Standing[] {
  const sorted = [...operators].sort((a, b) => place(a) - place(b) || a.operator.localeCompare(b.operator) || a.worker - b.worker);
  const frontiers = sorted.map((o) => toMs(o.frontier_utc));
  const known = frontiers.filter((at): at is number => at !== null);
  const [least, most] = [Math.min(...known), Math.max(...known)];
  const behind = (i: number) => frontiers[i] === least && least < most;
  const waiting = sorted.findIndex((o, i) => behind(i) && o.backlog > 0);
  const holder = waiting >= 0 ? waiting : sorted.findIndex((_, i) => behind(i));
  return sorted.map((operator, i) => ({ operator, lagMs: frontiers[i] === null ? null : most - frontiers[i]!, holds: i === holder }));
}

/** `rows 2` stands where `rows` does. */
function place(o: Operator): number {
  const at = ORDER.indexOf(o.operator.replace(/ \d+$/, ""));
  return at < 0 ? ORDER.length : at;
}
