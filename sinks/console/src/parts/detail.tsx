// One encounter explained: the reward as an equation, then in words, then six cards with what it is made of.
import type { Encounter } from "../api/records";
import { heardUpTo } from "../api/surfaces";
import { clock, percent, reward, whole } from "../format";
import { explanation } from "../explain";
import { encounterStatus, finished, unheard } from "../status";
import type { Status } from "../status";
import { texts } from "../texts";
import { AcousticSection } from "./acoustic";
import { Card, Empty, Panel } from "./basics";
import { StatePill, gateWords, numbers, shownEncounter } from "./encounters";
import { SemanticSection } from "./semantic";

const t = texts.cards;

export function Detail() {
  const e = shownEncounter.value;
  if (e === null) return <Panel title={texts.live.detail}><Empty>{texts.live.detailNone}</Empty></Panel>;
  return (
    <Panel
      title={`${texts.live.detail} · #${numbers.value.get(e.encounter_id) ?? ""} ${clock(e.stimulus_time_utc ?? e.segment_timestamp_utc)}`}
      actions={<StatePill e={e} />}
    >
      <Equation e={e} />
      <div class="explanation">
        {explanation(e, heardUpTo.value).map((sentence, i) => <p key={sentence} class={i === 0 ? "lead" : "muted"}>{sentence}</p>)}
        {e.notes.length > 0 && <p class="muted small">{texts.encounter.notes}: {e.notes.join(" ")}</p>}
      </div>
      <SixCards e={e} />
      <AcousticSection acoustic={e.observational_acoustic} />
      <SemanticSection e={e} />
    </Panel>
  );
}

/** P90 × gate = reward, as a picture. */
function Equation({ e }: { e: Encounter }) {
  const q = texts.equation;
  const done = finished(e.state) || unheard(e, heardUpTo.value);
  const noFrames = e.n_frames_in_window === 0;
  const value = (text: string) => (text === "—" && !done ? "…" : text);
  const gate = e.semantic_gate;
  const words = gate === null ? (done ? texts.encounter.states.unheard : texts.encounter.gateUnknown) : gateWords(gate);
  return (
    <div class="equation" role="img" aria-label={`${q.label}: ${q.p90} ${reward(e.p90_intensity)} ${q.times} ${q.gate} ${gate ?? "—"} ${q.equals} ${reward(e.gated_reward)}`}>
      <div class={noFrames ? "off" : ""}>
        <span class="name">{q.p90}</span>
        <span class="value">{value(reward(e.p90_intensity))}</span>
        <span class="bar"><i style={{ width: `${100 * Math.min(1, e.p90_intensity ?? 0)}%` }} /></span>
      </div>
      <span class="sign">×</span>
      <div class={gate === 0 ? "warn" : gate === 1 ? "ok" : ""}>
        <span class="name">{q.gate}</span>
        <span class="value">{gate === null ? value("—") : gate}</span>
        <span class="word">{words}</span>
      </div>
      <span class="sign">=</span>
      <div class={`result ${done ? (gate !== 1 || noFrames ? "warn" : "ok") : "progress"}`}>
        <span class="name">{q.reward}</span>
        <span class="value">{value(reward(e.gated_reward))}</span>
        <span class="bar"><i style={{ width: `${100 * Math.min(1, e.gated_reward ?? 0)}%` }} /></span>
      </div>
    </div>
  );
}

function SixCards({ e }: { e: Encounter }) {
  const frames: Status = e.n_frames_in_window === null ? "neutral" : e.n_frames_in_window === 0 ? "warn" : "ok";
  const gate: Status = e.semantic_gate === null ? "neutral" : e.semantic_gate === 1 ? "ok" : "warn";
  const physiology: Status = !e.physiology_attached ? "neutral" : e.physiology_stale ? "warn" : "ok";
  const body = !e.physiology_attached ? t.absent : e.physiology_stale ? t.stale : t.fresh;
  const confidence = e.semantic_evaluation?.confidence_score ?? e.semantic_confidence;
  return (
    <div class="cards narrow">
      <Card title={t.p90} status="info"><div class="value">{reward(e.p90_intensity)}</div><p class="muted small">{confidence === null ? t.p90Hint : t.confidence(percent(confidence))}</p></Card>
      <Card title={t.gate} status={gate}><div class="value">{e.semantic_gate ?? "—"}</div><p class="muted small">{gateWords(e.semantic_gate)}</p></Card>
      <Card title={t.reward} status={encounterStatus[e.state]}><div class="value">{reward(e.gated_reward)}</div><p class="muted small">{t.formula(reward(e.p90_intensity), String(e.semantic_gate ?? "—"))} · {texts.encounter.states[e.state]}</p></Card>
      <Card title={t.frames} status={frames}><div class="value">{whole(e.n_frames_in_window)}</div><p class="muted small">{e.n_frames_in_window === 0 ? t.framesNone : t.framesHint}</p></Card>
      <Card title={t.baseline}><div class="value">{reward(e.baseline_b_neutral)}</div><p class="muted small">{t.baselineHint}</p></Card>
      <Card title={t.physiology} status={physiology}><div class="value">{body}</div></Card>
    </div>
  );
}
