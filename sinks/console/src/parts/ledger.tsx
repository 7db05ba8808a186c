// Attribution on a time axis: greetings above, outcomes below, a line for each credit between them.
import type { AttributionEvent, Link, Outcome } from "../api/records";
import { attributionEvents, credits, outcomes } from "../api/surfaces";
import { clock, seconds, toMs, words } from "../format";
import { texts } from "../texts";
import { Banner, Empty, Panel } from "./basics";

const t = texts.ledger;
const [WIDTH, HEIGHT, EDGE] = [1000, 120, 60];

export function LedgerPanel() {
  const events = attributionEvents.data ?? [];
  const known = outcomes.data ?? [];
  const mine = (credits.data ?? []).flatMap((greeting) => greeting.links);
  const parts = [attributionEvents, outcomes, credits].map((s) => s.state.value);
  const failed = parts.some((s) => s.error !== null);
  const loading = parts.some((s) => s.loading);
  return (
    <Panel title={t.title}>
      {[attributionEvents, outcomes, credits].map((s) => <Banner key={s.name} of={s as never} />)}
      {known.length === 0 ? !failed && <Empty>{loading ? texts.loading : t.empty}</Empty> : (
        <>
          <Axis events={events} outcomes={known} links={mine} />
          <LinkTable events={events} outcomes={known} links={mine} />
        </>
      )}
    </Panel>
  );
}

interface LedgerProps {
  events: AttributionEvent[];
  outcomes: Outcome[];
  links: Link[];
}

function Axis({ events, outcomes: known, links: mine }: LedgerProps) {
  const times = [...events.map((e) => toMs(e.event_time_utc)!), ...known.map((o) => toMs(o.outcome_time_utc)!)];
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const x = (ms: number) => EDGE + ((ms - first) / Math.max(1, last - first)) * (WIDTH - 2 * EDGE);
  return (
    <svg class="ledger" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={t.aria(mine.length)}>
      <line class="rule" x1="0" x2={WIDTH} y1="34" y2="34" />
      <line class="rule" x1="0" x2={WIDTH} y1="92" y2="92" />
      {mine.map((link) => {
        const event = events.find((e) => e.event_id === link.event_id);
        const outcome = known.find((o) => o.outcome_id === link.outcome_id);
        if (event === undefined || outcome === undefined) return null;
        const [from, to] = [x(toMs(event.event_time_utc)!), x(toMs(outcome.outcome_time_utc)!)];
        return <path key={link.link_id} class={`link ${link.finality}`} d={`M${from} 40 C${from} 68 ${to} 58 ${to} 86`}><title>{t.lag(seconds(link.lag_s))}</title></path>;
      })}
      {events.map((e) => (
        <g key={e.event_id} class="greeting" transform={`translate(${x(toMs(e.event_time_utc)!)} 34)`}>
          <circle r="6" />
          <text y="-13">{clock(e.event_time_utc)}</text>
          <title>{`${t.greeting} ${e.selected_arm_id}`}</title>
        </g>
      ))}
      {known.map((o) => (
        <g key={o.outcome_id} class="outcome" transform={`translate(${x(toMs(o.outcome_time_utc)!)} 92)`}>
          <path d="M-6 -6h12v12h-12z" />
          <text y="22">{words(o.outcome_type)}</text>
        </g>
      ))}
    </svg>
  );
}

function LinkTable({ events, outcomes: known, links: mine }: LedgerProps) {
  return (
    <div class="scroll">
      <table aria-label={t.title}>
        <thead><tr><th scope="col">{t.columns.greeting}</th><th scope="col">{t.columns.outcome}</th><th scope="col" class="right">{t.columns.lag}</th><th scope="col">{t.columns.finality}</th></tr></thead>
        <tbody>
          {mine.map((link) => (
            <tr key={link.link_id}>
              <td>{clock(events.find((e) => e.event_id === link.event_id)?.event_time_utc)}</td>
              <td>{words(known.find((o) => o.outcome_id === link.outcome_id)?.outcome_type)}</td>
              <td class="right">{seconds(link.lag_s)}</td>
              <td>{texts.semantic.finalities[link.finality] ?? words(link.finality)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
