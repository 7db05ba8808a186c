// Physiology: both people's heart, and whether they move together.
import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import type * as r from "../api/records";
import { useSurfaces } from "../api/surface";
import { comodulationSeries, physiology, physiologySeries } from "../api/surfaces";
import { clock, correlation, heartRate, instant, percent, rmssd, seconds, toMs } from "../format";
import { Card, Panel, Pill, Rows, Show } from "../parts/basics";
import { Plot, axis, timeAxis, utc } from "../parts/plot";
import { isStale, physiologyState, physiologyStatus } from "../status";
import { colour } from "../store/theme";
import { selected } from "../store/place";
import { texts } from "../texts";

const t = texts.physiology;

export function Physiology() {
  useSurfaces(...([physiology, physiologySeries, comodulationSeries] as never[]));
  return (
    <>
      <header><h1>{texts.pages.physiology}</h1></header>
      {selected.value === null ? <p class="empty">{t.empty}</p> : (
        <>
          <Show of={physiology} empty={t.empty}>
            {(data) => (
              <div class="pair">
                <Person role="streamer" snapshot={data.streamer} />
                <Person role="operator" snapshot={data.operator} />
              </div>
            )}
          </Show>
          <Panel title={t.series}>
            <Show of={physiologySeries} empty={t.seriesEmpty} isEmpty={(list) => list.every((row) => row.rmssd_ms === null)}>
              {(list) => <RmssdChart list={list} />}
            </Show>
          </Panel>
          <Panel title={t.comodulation}>
            {physiology.data !== null && <Comodulation value={physiology.data.comodulation} />}
            <Show of={comodulationSeries} empty={t.reasons.no_window_yet!} isEmpty={(list) => list.length === 0}>
              {(list) => list.some((row) => row.co_modulation_index !== null) && <IndexChart list={list} />}
            </Show>
          </Panel>
        </>
      )}
    </>
  );
}

/** One person's newest snapshot in one of four states. */
function Person({ role, snapshot }: { role: "streamer" | "operator"; snapshot: r.Physiology | null }) {
  const state = physiologyState(snapshot);
  const status = physiologyStatus[state];
  const age = snapshot === null ? "—" : seconds(snapshot.freshness_s, 0);
  const word = snapshot === null ? "" : isStale(snapshot) ? t.states.stale : t.states.fresh;
  return (
    <Panel title={t.roles[role]!} actions={<Pill status={status}>{t.states[state]}</Pill>}>
      <div class="cards narrow" data-state={state} data-role={role}>
        <Card title={t.rmssd} status={status}><div class="value">{rmssd(snapshot?.rmssd_ms)}</div></Card>
        <Card title={t.heartRate}><div class="value">{heartRate(snapshot?.heart_rate_bpm)}</div></Card>
        <Card title={t.freshness} status={word === t.states.stale ? "warn" : status}>
          <div class="value">{age}</div>
          <p class="muted small">{word}{snapshot?.source_timestamp_utc != null && ` · ${t.source} ${clock(snapshot.source_timestamp_utc)}`}</p>
        </Card>
        <Card title={t.provider}><div class="value">{snapshot?.provider ?? "—"}</div></Card>
      </div>
    </Panel>
  );
}

function Comodulation({ value }: { value: r.Comodulation | null }) {
  if (value === null) return <p><Pill status="neutral">{t.noSnapshot}</Pill> <span class="muted">{t.reasons.no_window_yet}</span></p>;
  const index = value.co_modulation_index;
  const reason = value.null_reason ?? "undefined";
  return (
    <div class="cards narrow comodulation">
      <Card title={t.index} status={index === null ? "info" : "ok"} pill={index === null ? t.nullValid : t.valid}>
        <div class="value">{correlation(index)}</div>
        {index === null && <p class="muted small">{t.reasons[reason] ?? reason}</p>}
      </Card>
      <Card title={t.pairsLabel}><div class="value">{index === null && reason === "insufficient_pairs" ? t.pairsOf(value.n_paired_observations) : t.pairs(value.n_paired_observations)}</div></Card>
      <Card title={t.coverage}><div class="value">{percent(value.coverage_ratio)}</div></Card>
      <Card title={t.window}><Rows rows={[["", `${clock(value.window_start_utc)} – ${clock(value.window_end_utc)}`], [t.roles.streamer!, rmssd(value.streamer_rmssd_mean)], [t.roles.operator!, rmssd(value.operator_rmssd_mean)]]} /></Card>
    </div>
  );
}

/** Snapshots of both people on one time axis. */
function aligned(list: r.PhysiologyRow[]): uPlot.AlignedData {
  const rows = list.filter((row) => row.rmssd_ms !== null);
  const xs = [...new Set(rows.map((row) => toMs(row.source_timestamp_utc)! / 1000))].sort((a, b) => a - b);
  const of = (role: string) => {
    const values = new Map(rows.filter((row) => row.subject_role === role).map((row) => [toMs(row.source_timestamp_utc)! / 1000, row.rmssd_ms]));
    return xs.map((x) => values.get(x) ?? undefined) as (number | null | undefined)[];
  };
  return [xs, of("streamer"), of("operator")] as uPlot.AlignedData;
}

function RmssdChart({ list }: { list: r.PhysiologyRow[] }) {
  const data = useMemo(() => aligned(list), [list]);
  const options = () => ({
    legend: { show: false },
    tzDate: utc,
    cursor: { drag: { x: false, y: false, setScale: false }, sync: { key: "physiology" } },
    scales: { x: { time: true }, y: { range: (_: uPlot, min: number, max: number) => [Math.max(0, Math.floor((min - 5) / 10) * 10), Math.ceil((max + 5) / 10) * 10] as [number, number] } },
    axes: [timeAxis(), axis({ size: 40 })],
    series: [
      {},
      { stroke: colour("arm-1"), width: 2, spanGaps: true, points: { show: true, size: 5, fill: colour("arm-1") } },
      { stroke: colour("arm-2"), width: 2, dash: [7, 4], spanGaps: true, points: { show: true, size: 5, fill: colour("arm-2") } },
    ],
  });
  const last = list.at(-1);
  return (
    <figure aria-label={`${t.seriesAria}, ${instant(last?.source_timestamp_utc)}`}>
      <div class="legend">
        <span><svg class="arm arm-1" width="24" height="8" aria-hidden="true"><line class="line" x1="0" x2="24" y1="4" y2="4" /></svg>{t.roles.streamer}, ms</span>
        <span><svg class="arm arm-2" width="24" height="8" aria-hidden="true"><line class="line" x1="0" x2="24" y1="4" y2="4" /></svg>{t.roles.operator}, ms</span>
      </div>
      <Plot data={data} height={190} options={options} />
    </figure>
  );
}

function IndexChart({ list }: { list: r.ComodulationRow[] }) {
  const data = useMemo(() => {
    const rows = [...list].sort((a, b) => toMs(a.window_end_utc)! - toMs(b.window_end_utc)!);
    return [rows.map((row) => toMs(row.window_end_utc)! / 1000), rows.map((row) => row.co_modulation_index)] as uPlot.AlignedData;
  }, [list]);
  const options = () => ({
    legend: { show: false },
    tzDate: utc,
    cursor: { drag: { x: false, y: false, setScale: false }, sync: { key: "physiology" } },
    scales: { x: { time: true }, y: { range: [-1.05, 1.05] as [number, number] } },
    axes: [timeAxis(), axis({ size: 40, splits: () => [-1, -0.5, 0, 0.5, 1] })],
    series: [{}, { stroke: colour("arm-3"), width: 2, spanGaps: false, points: { show: true, size: 5, fill: colour("arm-3") } }],
  });
  return <figure aria-label={t.indexAria}><Plot data={data} height={130} options={options} /></figure>;
}
