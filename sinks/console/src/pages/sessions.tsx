// Sessions: one row each, newest first; a click selects, a double click or Enter opens.
import { useSurfaces } from "../api/surface";
import { sessions } from "../api/surfaces";
import type { SessionSummary } from "../api/records";
import { duration, instant, reward, shortId } from "../format";
import { Panel, Pill, Show } from "../parts/basics";
import { pickable } from "../parts/pick";
import { openLive, selected } from "../store/place";
import { SessionControls } from "../parts/controls";
import { texts } from "../texts";

const t = texts.sessions;

export function Sessions() {
  useSurfaces(sessions as never);
  return (
    <>
      <header>
        <h1>{texts.pages.sessions}</h1>
        <div class="push"><SessionControls startOnly /></div>
      </header>
      <Panel title={t.title} hint={t.hint} flush>
        <Show of={sessions} empty={t.empty} isEmpty={(list) => list.length === 0}>
          {(list) => <Table list={[...list].sort((a, b) => Date.parse(b.started_at_utc) - Date.parse(a.started_at_utc))} />}
        </Show>
      </Panel>
    </>
  );
}

function Table({ list }: { list: SessionSummary[] }) {
  return (
    <div class="scroll">
      <table aria-label={t.title} role="grid">
        <thead>
          <tr>
            <th scope="col">{t.columns.started}</th>
            <th scope="col">{t.columns.status}</th>
            <th scope="col">{t.columns.id}</th>
            <th scope="col">{t.columns.experiment}</th>
            <th scope="col">{t.columns.arm}</th>
            <th scope="col" class="right">{t.columns.reward}</th>
            <th scope="col" class="right">{t.columns.duration}</th>
          </tr>
        </thead>
        <tbody>
          {list.map((s) => (
            <tr key={s.session_id} {...pickable(selected.value === s.session_id, () => (selected.value = s.session_id), () => openLive(s.session_id))}>
              <td class="nowrap">{instant(s.started_at_utc)}</td>
              <td><Pill status={s.status === "active" ? "ok" : "neutral"}>{texts.session[s.status]}</Pill></td>
              <td class="nowrap" title={s.session_id}>{shortId(s.session_id)}</td>
              <td class="long">{s.experiment_id ?? "—"}</td>
              <td class="long">{s.active_arm ?? "—"}</td>
              <td class="right">{reward(s.latest_reward)}</td>
              <td class="right nowrap">{duration(s.duration_s)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
