// Health: how each part does, what to do about it, what was raised, and how far the dataflow is.
import { useSurfaces } from "../api/surface";
import type * as r from "../api/records";
import { alerts, health, operators, sources } from "../api/surfaces";
import { clock, milliseconds, words } from "../format";
import { AlertTable } from "../parts/alerts";
import { Card, Panel, Pill, Show, Table } from "../parts/basics";
import { Dataflow } from "../parts/dataflow";
import { Sources } from "../parts/sources";
import { healthStatus, probeStatus } from "../status";
import { texts } from "../texts";

const t = texts.health;

export function Health() {
  useSurfaces(...([health, operators, sources] as never[]));
  return (
    <>
      <header><h1>{texts.pages.health}</h1></header>
      <Show of={health} empty={t.empty}>
        {(data) => (
          <>
            <Cards data={data} />
            <Panel title={t.subsystems} flush>{data.subsystems.length === 0 ? <p class="empty">{t.subsystemsEmpty}</p> : <Subsystems list={data.subsystems} />}</Panel>
            <Panel title={t.probes} flush><Probes probes={inOrder(data.subsystem_probes ?? {})} /></Panel>
          </>
        )}
      </Show>
      <Panel title={t.dataflow} hint={t.dataflowHint}>
        <Show of={operators} empty={t.dataflowEmpty} isEmpty={(list) => list.length === 0}>
          {(list) => <Dataflow operators={list} />}
        </Show>
      </Panel>
      <Panel title={t.sources} hint={t.sourcesHint} flush>
        <Show of={sources} empty={t.sourcesEmpty} isEmpty={(list) => list.length === 0}>
          {(list) => <Sources list={list} />}
        </Show>
      </Panel>
      <Panel title={t.alerts} flush>
        <Show of={alerts} empty={t.alertsEmpty} isEmpty={(list) => list.length === 0}>
          {(list) => <AlertTable alerts={list} />}
        </Show>
      </Panel>
    </>
  );
}

function Cards({ data }: { data: r.Health }) {
  const failing = data.subsystems.find((s) => s.state === "error");
  return (
    <div class="cards four">
      <Card title={t.overall} status={healthStatus[data.overall_state]} pill={t.states[data.overall_state]}>
        <div class="value">{t.states[data.overall_state]}</div>
        <p class="muted">{t.meanings[data.overall_state]}, {t.generated(clock(data.generated_at_utc))}</p>
      </Card>
      <Card title={t.degraded} status={data.degraded_count > 0 ? "warn" : "ok"}><div class="value">{data.degraded_count}</div><p class="muted">{t.meanings.degraded}</p></Card>
      <Card title={t.recovering} status={data.recovering_count > 0 ? "progress" : "ok"}><div class="value">{data.recovering_count}</div><p class="muted">{t.meanings.recovering}</p></Card>
      <Card title={t.error} status={data.error_count > 0 ? "error" : "ok"}>
        <div class="value">{data.error_count}</div>
        <p class="muted">{failing === undefined ? t.none : `${failing.label}: ${failing.operator_action_hint ?? failing.detail ?? ""}`}</p>
      </Card>
    </div>
  );
}

function Subsystems({ list }: { list: r.Subsystem[] }) {
  return (
    <Table label={t.subsystems} columns={[t.columns.subsystem, t.columns.state, t.columns.mode, t.columns.detail, t.columns.last, t.columns.hint]}>
      {list.map((s) => (
        <tr key={s.subsystem_key}>
          <td class="label">{s.label}</td>
          <td><Pill status={healthStatus[s.state]} title={t.meanings[s.state]}>{t.states[s.state]}</Pill></td>
          <td>{words(s.recovery_mode)}</td>
          <td class="long">{s.detail ?? "—"}</td>
          <td class="nowrap">{clock(s.last_success_utc)}</td>
          <td class="long">{s.operator_action_hint ?? "—"}</td>
        </tr>
      ))}
    </Table>
  );
}

/** In the order in which the engine stands on them; others follow. */
const ORDER = ["postgres", "redis", "azure_openai", "whisper_worker", "orchestrator"];

function inOrder(probes: Record<string, r.Probe>): r.Probe[] {
  const place = (p: r.Probe) => (ORDER.includes(p.subsystem_key) ? ORDER.indexOf(p.subsystem_key) : ORDER.length);
  return Object.values(probes).sort((a, b) => place(a) - place(b));
}

function Probes({ probes }: { probes: r.Probe[] }) {
  if (probes.length === 0) return <p class="empty">{t.probesEmpty}</p>;
  return (
    <ul class="probes">
      {probes.map((p) => (
        <li key={p.subsystem_key} title={p.detail ?? undefined}>
          <span>{p.label}</span>
          <Pill status={probeStatus[p.state]}>{t.probeStates[p.state]}</Pill>
          <span class="muted number">{milliseconds(p.latency_ms)}</span>
        </li>
      ))}
    </ul>
  );
}
