// Overview: six cards and the newest alerts.
import { type SurfaceState, useSurfaces } from "../api/surface";
import { alerts, heardUpTo, overview } from "../api/surfaces";
import type * as r from "../api/records";
import { correlation, clock, duration, heartRate, milliseconds, percent, reward, rmssd, shortId, shortened, whole } from "../format";
import { AlertTable, newestAlerts } from "../parts/alerts";
import { Card, Panel, Rows, Show } from "../parts/basics";
import { healthStatus, latestStatus, physiologyOverall, physiologyStatus, unheard } from "../status";
import type { Status } from "../status";
import { methodName } from "../parts/semantic";
import { openLive, page, selected } from "../store/place";
import { texts } from "../texts";

const t = texts.overview;

export function Overview() {
  useSurfaces(overview as never);
  return (
    <>
      <header><h1>{texts.pages.overview}</h1></header>
      <Show of={overview} empty={t.empty}>
        {(data) => (
          <div class="cards">
            <SessionCard session={data.active_session} />
            <EncounterCard encounter={data.latest_encounter} />
            <ExperimentCard experiment={data.experiment_summary} />
            <PhysiologyCard snapshot={data.physiology} />
            <HealthCard health={data.health} />
            <AttentionCard state={alerts.state.value} fallback={data.alerts} />
          </div>
        )}
      </Show>
      <Panel title={t.alerts} flush>
        <Show of={alerts} empty={t.noAlerts} isEmpty={(list) => list.length === 0}>
          {(list) => <AlertTable alerts={newestAlerts(list).slice(0, 8)} compact />}
        </Show>
      </Panel>
    </>
  );
}

function SessionCard({ session }: { session: r.SessionSummary | null }) {
  if (session === null) {
    return <Card title={t.activeSession} pill={texts.session.idle}><p class="muted">{texts.session.idleHint}</p></Card>;
  }
  const open = () => openLive(session.session_id);
  return (
    <Card title={t.activeSession} status="ok" pill={texts.session[session.status]} onOpen={open} openLabel={`${texts.session.open} ${texts.pages.live}: ${shortId(session.session_id)}`}>
      <div class="value">{shortId(session.session_id)}</div>
      <Rows rows={[
        [texts.session.arm, session.active_arm ?? "—"],
        [texts.session.greeting, <span title={session.expected_greeting ?? undefined}>{shortened(session.expected_greeting, 42)}</span>],
        [texts.session.duration, duration(session.duration_s)],
      ]} />
    </Card>
  );
}

function ExperimentCard({ experiment }: { experiment: r.ExperimentSummary | null }) {
  if (experiment === null) return <Card title={t.experiment}><p class="muted">{t.noExperiment}</p></Card>;
  return (
    <Card title={t.experiment} status="info" pill={t.arms(experiment.arm_count)}>
      <div class="value">{experiment.label ?? experiment.experiment_id}</div>
      <Rows rows={[
        [t.activeArm, experiment.active_arm_id ?? "—"],
        [texts.session.latestReward, reward(experiment.latest_reward)],
      ]} />
    </Card>
  );
}

function PhysiologyCard({ snapshot }: { snapshot: r.PhysiologySnapshot | null }) {
  const state = physiologyOverall([snapshot?.streamer ?? null, snapshot?.operator ?? null]);
  const line = (p: r.Physiology | null) => (p === null ? "—" : `${rmssd(p.rmssd_ms)} · ${heartRate(p.heart_rate_bpm)}`);
  const co = snapshot?.comodulation ?? null;
  return (
    <Card title={t.physiology} status={physiologyStatus[state]} pill={texts.physiology.states[state]}>
      {snapshot === null ? <p class="muted">{t.noPhysiology}</p> : (
        <Rows rows={[
          [texts.physiology.roles.streamer!, line(snapshot.streamer)],
          [texts.physiology.roles.operator!, line(snapshot.operator)],
          [t.comodulation, co === null ? "—" : co.co_modulation_index === null ? texts.physiology.pairsOf(co.n_paired_observations) : correlation(co.co_modulation_index)],
        ]} />
      )}
    </Card>
  );
}

function HealthCard({ health }: { health: r.Health | null }) {
  if (health === null) return <Card title={t.health}><p class="muted">{texts.health.empty}</p></Card>;
  const { degraded_count: d, recovering_count: re, error_count: e } = health;
  return (
    <Card title={t.health} status={healthStatus[health.overall_state]} pill={texts.health.states[health.overall_state]} onOpen={() => (page.value = "health")} openLabel={`${texts.session.open} ${texts.pages.health}`}>
      <div class="value">{d + re + e === 0 ? (health.overall_state === "unknown" ? texts.health.meanings.unknown : t.allOk) : texts.health.states[health.overall_state]}</div>
      {d + re + e > 0 && <Rows rows={[[texts.health.degraded, d], [texts.health.recovering, re], [texts.health.error, e]]} />}
    </Card>
  );
}

function EncounterCard({ encounter }: { encounter: r.LatestEncounter | null }) {
  if (encounter === null) return <Card title={t.latestEncounter}><p class="muted">{t.noEncounter}</p></Card>;
  const gate = encounter.semantic_gate;
  const said = gate === null ? texts.encounter.gateUnknown : gate === 1 ? texts.encounter.gateOpen : texts.encounter.gateClosed;
  // What was listened to is known of the selected session.
  const silent = encounter.session_id === selected.value && unheard(encounter, heardUpTo.value);
  return (
    <Card title={t.latestEncounter} status={silent ? "warn" : latestStatus(encounter)} pill={texts.encounter.states[silent ? "unheard" : encounter.state]}>
      <div class="value">{reward(encounter.gated_reward)}</div>
      <Rows rows={[
        [texts.live.columns.p90, reward(encounter.p90_intensity)],
        [texts.cards.gate, said],
        [texts.cards.frames, whole(encounter.n_frames_in_window)],
        [texts.live.columns.time, clock(encounter.stimulus_time_utc ?? encounter.segment_timestamp_utc)],
      ]} />
      <Compact encounter={encounter} />
    </Card>
  );
}

/** One line of what the judgement and attribution say. */
function Compact({ encounter }: { encounter: r.LatestEncounter }) {
  const { semantic_evaluation: said, attribution: credit } = encounter;
  const parts = [
    said?.semantic_method && `${methodName(said.semantic_method)} ${percent(said.confidence_score)}`,
    credit?.finality && `${t.attribution} ${texts.semantic.finalities[credit.finality] ?? credit.finality}`,
    credit?.au12_peak_latency_ms !== null && credit?.au12_peak_latency_ms !== undefined && `${texts.semantic.latency} ${milliseconds(credit.au12_peak_latency_ms)}`,
  ].filter(Boolean);
  return parts.length === 0 ? null : <p class="muted small">{parts.join(" · ")}</p>;
}

function AttentionCard({ state, fallback }: { state: SurfaceState<r.Alert[]>; fallback: r.Alert[] }) {
  const open = (state.data ?? fallback).filter((alert) => !alert.acknowledged);
  const critical = open.filter((alert) => alert.severity === "critical").length;
  const warnings = open.filter((alert) => alert.severity === "warning").length;
  const status: Status = critical > 0 ? "error" : warnings > 0 ? "warn" : open.length > 0 ? "info" : "ok";
  return (
    <Card title={t.attention} status={status} pill={t.openAlerts(open.length)}>
      <div class="value">{open.length}</div>
      <Rows rows={[[t.critical, critical], [t.warnings, warnings]]} />
    </Card>
  );
}


