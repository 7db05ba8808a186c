// The posteriors of all arms as curves over the reward; a slider goes back through their history.
import { signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Arm, PosteriorUpdate } from "../api/records";
import { HISTORY, chosenExperiment, posteriors } from "../api/surfaces";
import { curve, mean } from "../beta";
import { instant, reward, toMs } from "../format";
import { texts } from "../texts";
import { Banner, Panel } from "./basics";

const t = texts.experiments;
const [WIDTH, HEIGHT, LEFT, BOTTOM, TOP] = [480, 200, 6, 24, 10];
/** A curve is cut off above this density, so that a sure arm does not flatten the others. */
const MOST = 12;
const POINTS = 240;

/** The step of the history that is shown; null: now. */
const at = signal<number | null>(null);

/** The colour and dash of an arm by its place in the list: told apart without colour, too. */
export const armClass = (index: number) => `arm arm-${(index % 6) + 1}`;

export function PosteriorPanel({ arms }: { arms: Arm[] }) {
  const steps = history();
  useEffect(() => {
    at.value = null;
  }, [chosenExperiment.value]);
  const shown = at.value === null ? arms.map((a, place) => ({ place, arm: a.arm_id, alpha: a.posterior_alpha, beta: a.posterior_beta, enabled: a.enabled })) : asOf(arms, steps, at.value, steps.length < HISTORY);
  return (
    <Panel title={t.posteriors} hint={t.posteriorsHint}>
      <Banner of={posteriors as never} />
      <Curves arms={shown} />
      {steps.length > 0 && <Slider steps={steps} />}
    </Panel>
  );
}

function history(): PosteriorUpdate[] {
  const mine = (posteriors.data ?? []).filter((row) => row.experiment_id === chosenExperiment.value);
  return mine.sort((a, b) => toMs(a.at)! - toMs(b.at)!);
}

/** What each arm's posterior was after a step. Before the first known one it is (1, 1), or not known if there were more. */
export function asOf(arms: Arm[], steps: PosteriorUpdate[], step: number, isWhole: boolean) {
  return arms.flatMap((a, place) => {
    const mine = steps.filter((s) => s.arm === a.arm_id);
    const last = steps.slice(0, step).filter((s) => s.arm === a.arm_id).at(-1);
    const shown = (alpha: number, beta: number) => [{ place, arm: a.arm_id, alpha, beta, enabled: a.enabled }];
    if (last !== undefined) return shown(last.alpha_param, last.beta_param);
    if (isWhole) return shown(1, 1);
    // Not moved since is as it is now.
    return mine.length === 0 ? shown(a.posterior_alpha, a.posterior_beta) : [];
  });
}

function Slider({ steps }: { steps: PosteriorUpdate[] }) {
  const step = at.value ?? steps.length;
  const words = step === steps.length ? t.now : step === 0 ? "—" : `${instant(steps[step - 1]!.at)} · ${steps[step - 1]!.arm}`;
  return (
    <label class="slider">
      <span class="muted small">{t.asOf}</span>
      <input type="range" min="0" max={steps.length} value={step} aria-valuetext={words}
        onInput={(event) => { const value = Number(event.currentTarget.value); at.value = value === steps.length ? null : value; }} />
      <output class="small">{words}</output>
    </label>
  );
}

interface Shown {
  /** In the list of arms: what its colour and dash follow. */
  place: number;
  arm: string;
  alpha: number;
  beta: number;
  enabled: boolean;
}

function Curves({ arms }: { arms: Shown[] }) {
  const drawn = arms.map((a) => ({ ...a, points: curve(a.alpha, a.beta, POINTS) }));
  const top = Math.min(MOST, Math.max(1.6, ...drawn.flatMap((d) => d.points.map((p) => p.y))) * 1.08);
  const x = (value: number) => LEFT + value * (WIDTH - 2 * LEFT);
  const y = (value: number) => HEIGHT - BOTTOM - (Math.min(value, top) / top) * (HEIGHT - BOTTOM - TOP);
  const path = (d: (typeof drawn)[number]) => d.points.map((p, i) => `${i === 0 ? "M" : "L"}${x(p.x).toFixed(1)} ${y(p.y).toFixed(1)}`).join("");
  return (
    <>
      <svg class="posteriors" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`${t.posteriorsAria}: ${arms.map((a) => `${a.arm} ${t.mean} ${reward(mean(a.alpha, a.beta))}`).join(", ")}`}>
        {[0, 0.25, 0.5, 0.75, 1].map((tick) => (
          <g key={tick}>
            <line class="grid" x1={x(tick)} x2={x(tick)} y1={TOP} y2={HEIGHT - BOTTOM} />
            <text class="tick" x={x(tick)} y={HEIGHT - 8} text-anchor={tick === 0 ? "start" : tick === 1 ? "end" : "middle"}>{tick}</text>
          </g>
        ))}
        {drawn.map((d) => (
          <g key={d.arm} class={`${armClass(d.place)} ${d.enabled ? "" : "off"}`}>
            <path class="area" d={`${path(d)}L${x(1)} ${y(0)}L${x(0)} ${y(0)}Z`} />
            <path class="line" d={path(d)} />
            <line class="mean" x1={x(mean(d.alpha, d.beta))} x2={x(mean(d.alpha, d.beta))} y1={y(0)} y2={y(0) - 12 - 5 * d.place} />
          </g>
        ))}
      </svg>
      <div class="legend">
        {arms.map((a) => (
          <span key={a.arm}>
            <svg class={armClass(a.place)} width="24" height="8" aria-hidden="true"><line class="line" x1="0" x2="24" y1="4" y2="4" /></svg>
            {a.arm} <b class="number">{reward(mean(a.alpha, a.beta))}</b>
          </span>
        ))}
      </div>
    </>
  );
}
