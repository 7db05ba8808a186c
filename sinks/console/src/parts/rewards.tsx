// The reward of every greeting of an experiment over time, one colour and shape an arm.
import type { LoggedEncounter } from "../api/records";
import { rewards } from "../api/surfaces";
import { clock, instant, reward, toMs } from "../format";
import { texts } from "../texts";
import { Panel, Show } from "./basics";
import { armClass } from "./posteriors";

const t = texts.experiments;
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [480, 200, 34, 24, 10];

export function RewardPanel({ arms }: { arms: string[] }) {
  return (
    <Panel title={t.history} hint={t.historyHint}>
      <Show of={rewards} empty={t.historyEmpty} isEmpty={(list) => list.length === 0}>
        {(list) => (
          <>
            <Dots list={list} arms={arms} />
            <div class="legend" aria-hidden="true">
              {arms.map((arm, i) => <span key={arm}><svg class="posteriors key" viewBox="-7 -7 14 14"><path class={`${armClass(i)} dot`} d={shapes[i % shapes.length]!} /></svg>{arm}</span>)}
            </div>
          </>
        )}
      </Show>
    </Panel>
  );
}

/** The shape of each arm: told apart without colour, too. */
const shapes = [
  "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
  "M-3.6 -3.6h7.2v7.2h-7.2z",
  "M0 -4.6l4.4 7.8h-8.8z",
  "M0 -5l4.6 5l-4.6 5l-4.6 -5z",
  "M-4.6 -1.5h3v-3h3.2v3h3v3h-3v3h-3.2v-3h-3z",
  "M0 4.6l4.4 -7.8h-8.8z",
];

const timeOf = (e: LoggedEncounter) => (e.stimulus_time === null ? toMs(e.timestamp_utc)! : e.stimulus_time * 1000);

function Dots({ list, arms }: { list: LoggedEncounter[]; arms: string[] }) {
  const times = list.map(timeOf);
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const span = Math.max(last - first, 1000);
  const x = (ms: number) => LEFT + 10 + ((ms - first) / span) * (WIDTH - LEFT - 26);
  const y = (value: number) => HEIGHT - BOTTOM - value * (HEIGHT - BOTTOM - TOP);
  return (
    <svg class="posteriors" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={t.historyAria(list.length)}>
      {[0, 0.25, 0.5, 0.75, 1].map((tick) => (
        <g key={tick}>
          <line class="grid" x1={LEFT} x2={WIDTH} y1={y(tick)} y2={y(tick)} />
          <text class="tick" x={LEFT - 6} y={y(tick) + 4} text-anchor="end">{tick}</text>
        </g>
      ))}
      <text class="tick" x={LEFT} y={HEIGHT - 8}>{clock(first)}</text>
      <text class="tick" x={WIDTH} y={HEIGHT - 8} text-anchor="end">{clock(last)}</text>
      {list.map((e) => {
        const index = Math.max(0, arms.indexOf(e.arm));
        return (
          <path key={`${e.session_id}${timeOf(e)}`} class={`${armClass(index)} dot ${e.semantic_gate === 0 ? "hollow" : ""}`} d={shapes[index % shapes.length]!} transform={`translate(${x(timeOf(e)).toFixed(1)} ${y(e.gated_reward).toFixed(1)})`}>
            <title>{`${instant(timeOf(e))} ${e.arm}: ${reward(e.gated_reward)}, P90 ${reward(e.p90_intensity)}`}</title>
          </path>
        );
      })}
    </svg>
  );
}
