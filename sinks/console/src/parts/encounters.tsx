// The greetings of the session as a table; the picked one, or the newest, is explained beside it.
import { computed, signal } from "@preact/signals";
import type { Encounter } from "../api/records";
import { encounters, header, heardUpTo } from "../api/surfaces";
import { clock, instant, reward, toMs, whole } from "../format";
import { encounterStatus, unheard } from "../status";
import { texts } from "../texts";
import { Panel, Pill, Show } from "./basics";
import { pickable } from "./pick";

const t = texts.live;
const picked = signal<string | null>(null);

export function pickEncounter(id: string | null): void {
  picked.value = id;
}

const timeOf = (e: Encounter) => toMs(e.stimulus_time_utc) ?? toMs(e.segment_timestamp_utc) ?? 0;

/** Newest first. */
const sorted = computed(() => [...(encounters.state.value.data ?? [])].sort((a, b) => timeOf(b) - timeOf(a)));

/** The one that is explained: the picked one while its row exists, else the newest; never a mix. */
export const shownEncounter = computed<Encounter | null>(() => {
  const list = sorted.value;
  return list.find((e) => e.encounter_id === picked.value) ?? list[0] ?? null;
});

/** The number of each greeting in its session, in order of time: what the chart calls it, too. */
export const numbers = computed(() => new Map([...sorted.value].reverse().map((e, i) => [e.encounter_id, i + 1])));

export function EncounterTable() {
  return (
    <Panel title={t.encounters} flush>
      <Show of={encounters} empty={header.data?.status === "ended" ? t.noneSent : t.noEncounters} isEmpty={(list) => list.length === 0}>
        {() => (
          <div class="scroll tall">
            <table aria-label={t.encounters} role="grid">
              <thead>
                <tr>
                  <th scope="col">{t.columns.time}</th>
                  <th scope="col">{t.columns.state}</th>
                  <th scope="col">{t.columns.arm}</th>
                  <th scope="col">{t.columns.gate}</th>
                  <th scope="col" class="right">{t.columns.p90}</th>
                  <th scope="col" class="right">{t.columns.reward}</th>
                  <th scope="col" class="right">{t.columns.frames}</th>
                  <th scope="col">{t.columns.physiology}</th>
                </tr>
              </thead>
              <tbody>{sorted.value.map((e) => <Row key={e.encounter_id} e={e} />)}</tbody>
            </table>
          </div>
        )}
      </Show>
    </Panel>
  );
}

function Row({ e }: { e: Encounter }) {
  const at = e.stimulus_time_utc ?? e.segment_timestamp_utc;
  const isShown = shownEncounter.value?.encounter_id === e.encounter_id;
  return (
    <tr {...pickable(isShown, () => pickEncounter(e.encounter_id))}>
      <td class="nowrap" title={instant(at)}><span class="muted">#{numbers.value.get(e.encounter_id)}</span> {clock(at)}</td>
      <td><StatePill e={e} /></td>
      <td class="arm-cell" title={e.active_arm ?? undefined}>{e.active_arm ?? "—"}</td>
      <td class="nowrap">{e.semantic_gate === null ? "—" : e.semantic_gate === 1 ? texts.encounter.said : texts.encounter.gateClosed}</td>
      <td class="right">{reward(e.p90_intensity)}</td>
      <td class="right"><strong>{reward(e.gated_reward)}</strong></td>
      <td class="right">{whole(e.n_frames_in_window)}</td>
      <td>{physiologyWords(e)}</td>
    </tr>
  );
}

export function StatePill({ e }: { e: Encounter }) {
  if (unheard(e, heardUpTo.value)) return <Pill status="warn">{texts.encounter.states.unheard}</Pill>;
  return <Pill status={encounterStatus[e.state]}>{texts.encounter.states[e.state]}</Pill>;
}

export function gateWords(gate: number | null): string {
  if (gate === null) return "—";
  return gate === 1 ? texts.encounter.gateOpen : texts.encounter.gateClosed;
}

function physiologyWords(e: Encounter): string {
  const words = texts.encounter.physiology;
  if (!e.physiology_attached) return words.absent;
  return e.physiology_stale ? words.stale : words.attached;
}
