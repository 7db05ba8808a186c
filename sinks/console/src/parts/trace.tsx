// The smile of the session over time: greetings marked, both windows shaded, P90 drawn; the voice's pitch below.
import { computed, signal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import { series, trace } from "../api/trace";
import type { Encounter, Pitch } from "../api/records";
import { encounters, header, pitch } from "../api/surfaces";
import { clock, toMs, whole } from "../format";
import { colour } from "../store/theme";
import { texts } from "../texts";
import { Banner, Panel } from "./basics";
import { Icon } from "./icon";
import { Plot, axis, timeAxis, utc } from "./plot";
import { numbers, pickEncounter, shownEncounter } from "./encounters";

const t = texts.trace;
/** What is shown while following, s. */
const FOLLOW_S = 90;
/** The windows around a greeting, s. */
export const MEASURE: [number, number] = [0.5, 5];
export const BASELINE: [number, number] = [-5, -2];

type View = "follow" | "all" | [number, number];
const view = signal<View>("follow");

/** The shown part of the time axis, s. */
const range = computed<[number, number] | null>(() => {
  const chosen = view.value;
  const { time } = series.value;
  const last = time.at(-1);
  if (typeof chosen !== "string") return chosen;
  if (last === undefined) return null;
  const ended = header.state.value.data?.status === "ended";
  if (chosen === "all" || ended) return [time[0]!, last + Math.max(1, (last - time[0]!) * 0.01)];
  return [Math.max(time[0]!, last - FOLLOW_S), Math.max(last, time[0]! + FOLLOW_S / 3)];
});

export function TracePanel() {
  const { time, value } = series.value;
  const list = encounters.data ?? [];
  const data = useMemo(() => [time, value] as uPlot.AlignedData, [series.value]);
  const has = time.length > 1;
  return (
    <Panel title={t.title} hint={has ? t.summary(whole(time.length), clock(time[0]! * 1000), clock(time.at(-1)! * 1000)) : ""} actions={has && <Buttons />}>
      <Banner of={trace as never} />
      {!has && trace.state.value.error === null && <p class="empty">{trace.state.value.loading ? texts.loading : t.empty}</p>}
      {has && (
        <div class="trace" tabIndex={0} role="group" aria-label={t.aria(whole(time.length), String(list.length))} onKeyDown={onKey}>
          <Smile data={data} list={list} />
          <Voice />
          <Legend />
        </div>
      )}
    </Panel>
  );
}

function Smile({ data, list }: { data: uPlot.AlignedData; list: Encounter[] }) {
  const shown = useRef(list);
  shown.current = list;
  const picked = shownEncounter.value?.encounter_id ?? null;
  const options = () => ({
    ...common(),
    scales: { x: { time: true }, y: { range: [0, 1.02] as [number, number] } },
    axes: [timeAxis(), axis({ size: 34, splits: () => [0, 0.25, 0.5, 0.75, 1], values: (_, v) => v.map(String) })],
    series: [{}, { stroke: colour("text"), width: 1.25, points: { show: false }, spanGaps: false }],
    hooks: {
      drawClear: [(u: uPlot) => shade(u, shown.current)],
      draw: [(u: uPlot) => marks(u, shown.current)],
    },
  });
  return <Plot data={data} height={190} options={options} range={range.value} mark={`${picked} ${stamp(list)}`} onReady={interact} />;
}

/** What of the encounters is drawn; another stamp means drawing again. */
const stamp = (list: Encounter[]) => list.map((e) => `${e.encounter_id}${e.p90_intensity}${e.state}`).join();

function common(): Omit<uPlot.Options, "width" | "height" | "series"> {
  return {
    legend: { show: false },
    tzDate: utc,
    cursor: { drag: { setScale: false, x: false, y: false }, sync: { key: "trace" }, points: { size: 6 } },
    padding: [16, 8, 0, 0],
  };
}

function shade(u: uPlot, list: Encounter[]): void {
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  for (const e of list) {
    const at = seconds(e);
    if (at === null) continue;
    const fill = (window: [number, number], style: string) => {
      const x = u.valToPos(at + window[0], "x", true);
      ctx.fillStyle = style;
      ctx.fillRect(x, bbox.top, u.valToPos(at + window[1], "x", true) - x, bbox.height);
    };
    fill(BASELINE, colour("shade-baseline"));
    fill(MEASURE, colour("shade-measure"));
  }
  ctx.restore();
}

function marks(u: uPlot, list: Encounter[]): void {
  const { ctx, bbox } = u;
  const scale = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, 0, bbox.width, bbox.top + bbox.height);
  ctx.clip();
  const order = numbers.value;
  ctx.textBaseline = "alphabetic";
  for (const e of list) {
    const at = seconds(e);
    if (at === null) continue;
    const x = u.valToPos(at, "x", true);
    const isPicked = e.encounter_id === shownEncounter.value?.encounter_id;
    ctx.strokeStyle = colour("accent");
    ctx.lineWidth = (isPicked ? 2.5 : 1.5) * scale;
    line(ctx, [x, bbox.top], [x, bbox.top + bbox.height]);
    label(ctx, `#${order.get(e.encounter_id) ?? ""}`, x, bbox.top, isPicked);
    if (e.p90_intensity !== null && e.n_frames_in_window !== 0) {
      const y = u.valToPos(e.p90_intensity, "y", true);
      ctx.strokeStyle = e.semantic_gate === 0 ? colour("warn") : colour("ok");
      ctx.lineWidth = 2 * scale;
      ctx.setLineDash([6 * scale, 3 * scale]);
      const [from, to] = [u.valToPos(at + MEASURE[0], "x", true), u.valToPos(at + MEASURE[1], "x", true)];
      line(ctx, [from, y], [to, y]);
      ctx.setLineDash([]);
      if (to - from > 60 * scale) {
        ctx.fillStyle = ctx.strokeStyle;
        ctx.font = `600 ${11 * scale}px "Inter Variable", system-ui, sans-serif`;
        ctx.textAlign = "right";
        const text = `P90 ${e.p90_intensity.toFixed(3)}`;
        const [tx, ty] = [to - 3 * scale, y > bbox.top + 16 * scale ? y - 5 * scale : y + 14 * scale];
        ctx.strokeStyle = colour("panel");
        ctx.lineWidth = 4 * scale;
        ctx.strokeText(text, tx, ty);
        ctx.fillText(text, tx, ty);
      }
    }
  }
  ctx.restore();
}

function line(ctx: CanvasRenderingContext2D, from: [number, number], to: [number, number]): void {
  ctx.beginPath();
  ctx.moveTo(...from);
  ctx.lineTo(...to);
  ctx.stroke();
}

function label(ctx: CanvasRenderingContext2D, text: string, x: number, top: number, isPicked: boolean): void {
  const scale = devicePixelRatio;
  ctx.font = `650 ${11 * scale}px "Inter Variable", system-ui, sans-serif`;
  const width = ctx.measureText(text).width + 8 * scale;
  ctx.fillStyle = isPicked ? colour("accent") : colour("panel");
  ctx.fillRect(x - width / 2, top - 15 * scale, width, 14 * scale);
  ctx.fillStyle = isPicked ? colour("accent-ink") : colour("accent");
  ctx.textAlign = "center";
  ctx.fillText(text, x, top - 4 * scale);
}

const seconds = (e: Encounter) => {
  const ms = toMs(e.stimulus_time_utc);
  return ms === null ? null : ms / 1000;
};

/** Pitch frames of all segments as one series, with a gap between segments. */
function voice(rows: Pitch[]): uPlot.AlignedData {
  const [xs, ys]: [number[], (number | null)[]] = [[], []];
  const sorted = [...rows].sort((a, b) => Date.parse(a.start_utc) - Date.parse(b.start_utc));
  for (const row of sorted) {
    const start = Date.parse(row.start_utc) / 1000;
    row.f0_hz.forEach((f0, i) => {
      const x = start + i * row.step_s;
      if (xs.length > 0 && x <= xs.at(-1)!) return;
      xs.push(x);
      ys.push(f0 !== null && f0 > 0 ? f0 : null);
    });
    if (xs.length > 0) {
      xs.push(xs.at(-1)! + row.step_s);
      ys.push(null);
    }
  }
  return [xs, ys];
}

function Voice() {
  const rows = pitch.data;
  const data = useMemo(() => voice(rows ?? []), [rows]);
  if (rows === null || rows.length === 0) {
    return pitch.state.value.error === null ? <p class="muted small">{t.pitch}: {t.pitchEmpty}</p> : <Banner of={pitch as never} />;
  }
  const options = () => ({
    ...common(),
    padding: [6, 8, 0, 0] as [number, number, number, number],
    scales: { x: { time: true }, y: { range: (_: uPlot, min: number, max: number) => [Math.max(50, Math.floor(min / 50) * 50), Math.max(200, Math.ceil(max / 50) * 50)] as [number, number] } },
    axes: [{ ...timeAxis(), values: () => [], size: 6 }, axis({ size: 34, space: 24 })],
    series: [{}, { stroke: colour("arm-3"), width: 2, points: { show: false }, spanGaps: false }],
  });
  const voiced = (data[1] as (number | null)[]).filter((f0) => f0 !== null).length;
  return (
    <figure aria-label={t.pitchAria(voiced)}>
      <figcaption class="muted small">{t.pitch}, Hz</figcaption>
      <Plot data={data} height={84} options={options} range={range.value} />
    </figure>
  );
}

function Legend() {
  return (
    <div class="legend" aria-hidden="true">
      <span><i style={{ background: "var(--accent)", width: "3px" }} />{t.legend.stimulus}</span>
      <span><i style={{ background: "var(--shade-measure)" }} />{t.legend.measure}</span>
      <span><i style={{ background: "var(--shade-baseline)" }} />{t.legend.baseline}</span>
      <span><i class="dash ok" />{t.legend.p90}, {texts.encounter.gateOpen}</span>
      <span><i class="dash warn" />{t.legend.p90}, {texts.encounter.gateClosed}</span>
    </div>
  );
}

function Buttons() {
  return (
    <>
      <button type="button" class="button small" aria-label={t.zoomOut} onClick={() => zoom(1.6)}><Icon name="minus" /></button>
      <button type="button" class="button small" aria-label={t.zoomIn} onClick={() => zoom(1 / 1.6)}><Icon name="plus" /></button>
      <button type="button" class="button small" aria-pressed={view.value === "all"} onClick={() => (view.value = "all")}>{t.all}</button>
      <button type="button" class="button small" aria-pressed={view.value === "follow"} onClick={() => (view.value = "follow")}><Icon name="follow" />{t.follow}</button>
    </>
  );
}

function zoom(factor: number, around?: number): void {
  const now = range.value;
  if (now === null) return;
  const [from, to] = now;
  const centre = around ?? (from + to) / 2;
  const width = Math.max(2, (to - from) * factor);
  const left = centre - ((centre - from) / (to - from)) * width;
  view.value = [left, left + width];
}

function pan(share: number): void {
  const now = range.value;
  if (now === null) return;
  const by = (now[1] - now[0]) * share;
  view.value = [now[0] + by, now[1] + by];
}

function onKey(event: KeyboardEvent): void {
  const actions: Record<string, () => void> = {
    ArrowLeft: () => pan(-0.1),
    ArrowRight: () => pan(0.1),
    "+": () => zoom(1 / 1.4),
    "-": () => zoom(1.4),
    Home: () => (view.value = "all"),
    End: () => (view.value = "follow"),
  };
  const action = actions[event.key];
  if (action === undefined) return;
  action();
  event.preventDefault();
}

/** Dragging moves, the wheel with Ctrl zooms and sideways moves, a click on a greeting picks it. */
function interact(u: uPlot): void {
  const over = u.over;
  let from: number | null = null;
  let moved = false;
  over.addEventListener("pointerdown", (event) => {
    from = event.clientX;
    moved = false;
    over.setPointerCapture(event.pointerId);
  });
  over.addEventListener("pointermove", (event) => {
    if (from === null || Math.abs(event.clientX - from) < 2) return;
    pan((from - event.clientX) / over.clientWidth);
    from = event.clientX;
    moved = true;
  });
  over.addEventListener("pointerup", (event) => {
    if (!moved) pickAt(u.posToVal(event.clientX - over.getBoundingClientRect().left, "x"));
    from = null;
  });
  over.addEventListener(
    "wheel",
    (event) => {
      const sideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) ? event.deltaX : event.shiftKey ? event.deltaY : 0;
      if (!event.ctrlKey && sideways === 0) return;
      event.preventDefault();
      if (event.ctrlKey) zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, u.posToVal(event.offsetX, "x"));
      else pan(sideways / over.clientWidth);
    },
    { passive: false },
  );
}

function pickAt(at: number): void {
  const hit = (encounters.data ?? []).find((e) => {
    const stimulus = seconds(e);
    return stimulus !== null && at >= stimulus + BASELINE[0] && at <= stimulus + MEASURE[1];
  });
  if (hit !== undefined) pickEncounter(hit.encounter_id);
}

/** Another session is shown from its end on. */
export function useFollowAnew(sessionId: string | null): void {
  useEffect(() => {
    view.value = "follow";
  }, [sessionId]);
}
