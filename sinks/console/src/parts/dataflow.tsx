// The operators of the dataflow in order, how far each is, and which one the others wait for.
import type { Operator } from "../api/records";
import { standings } from "../dataflow";
import { clock, milliseconds, whole, words } from "../format";
import { texts } from "../texts";
import { Pill } from "./basics";

const t = texts.health;

export function Dataflow({ operators }: { operators: Operator[] }) {
  const list = standings(operators);
  const most = Math.max(1, ...list.map((s) => s.lagMs ?? 0));
  const several = new Set(operators.map((o) => o.worker)).size > 1;
  return (
    <ol class="dataflow">
      {list.map(({ operator: o, lagMs, holds }) => (
        <li key={`${o.worker}.${o.operator}`} class={holds ? "holds" : ""}>
          <span class="name">{words(o.operator)}</span>
          {several && <span class="muted small">{t.worker(o.worker)}</span>}
          <span class="number">{t.lag} {milliseconds(lagMs)}</span>
          <span class="bar" aria-hidden="true"><i style={{ width: `${(100 * (lagMs ?? 0)) / most}%` }} /></span>
          <span class="muted small number">{t.backlog} {whole(o.backlog)} · {o.frontier_utc === null ? t.done : `${t.frontier} ${clock(o.frontier_utc)}`}</span>
          {holds && <Pill status="warn">{t.holds}</Pill>}
        </li>
      ))}
    </ol>
  );
}
