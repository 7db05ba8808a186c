// How it was judged what was said, and what attribution observed; none of it changes the reward.
import type { Encounter } from "../api/records";
import { correlation, milliseconds, percent, reward, seconds, signed, words } from "../format";
import { texts } from "../texts";
import { Pill, Rows } from "./basics";

const t = texts.semantic;

/** A scorer's readable name. */
export const methodName = (code: string | null) => (code === null ? "—" : (t.methods[code] ?? words(code)));

export function SemanticSection({ e }: { e: Encounter }) {
  const { semantic_evaluation: said, attribution: credit } = e;
  const rows: [string, preact.ComponentChildren][] = [];
  if (said !== null) {
    rows.push([t.method, `${methodName(said.semantic_method)}${said.semantic_method_version ? ` ${said.semantic_method_version}` : ""}`]);
    if (said.is_match !== null) rows.push([t.match, <Pill status={said.is_match ? "ok" : "warn"}>{said.is_match ? t.matched : t.unmatched}</Pill>]);
    if (said.reasoning !== null) rows.push([t.reason, t.reasons[said.reasoning] ?? words(said.reasoning)]);
    rows.push([t.pMatch, percent(said.confidence_score)]);
  }
  if (credit !== null) {
    rows.push([t.finality, credit.finality === null ? "—" : (t.finalities[credit.finality] ?? words(credit.finality))]);
    rows.push([t.soft, reward(credit.soft_reward_candidate)]);
    rows.push([t.lift, signed(credit.au12_lift_p90, 3)], [t.peak, signed(credit.au12_lift_peak, 3)]);
    rows.push([t.latency, milliseconds(credit.au12_peak_latency_ms)]);
    if (credit.sync_peak_corr !== null) rows.push([t.sync, `${correlation(credit.sync_peak_corr)}, ${t.lag(signed(credit.sync_peak_lag, 0))}`]);
    if (credit.outcome_link_lag_s !== null) rows.push([t.outcome, seconds(credit.outcome_link_lag_s)]);
  }
  return (
    <section class="part" aria-label={t.title}>
      <h3>{t.title}</h3>
      {rows.length === 0 ? <p class="empty">{t.empty}</p> : <div class="card plain"><Rows rows={rows} /></div>}
      <p class="muted small">{t.note}</p>
    </section>
  );
}
