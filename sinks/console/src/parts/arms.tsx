// The arms of an experiment: what is believed of each, and what an operator may change.
import { signal } from "@preact/signals";
import { useState } from "preact/hooks";
import { deleteArm, editArm } from "../api/actions";
import type { Arm, ExperimentDetail } from "../api/records";
import { instant, percent, reward, variance, whole } from "../format";
import { mayAct } from "../store/role";
import { texts } from "../texts";
import { Dialog } from "./dialog";
import { Pill } from "./basics";
import { armClass } from "./posteriors";

const t = texts.experiments;
const c = t.columns;

/** What the last change did. */
export const outcome = signal<{ ok: boolean; text: string } | null>(null);

/** Does something and says what came of it. */
export async function attempt(what: () => Promise<string>): Promise<boolean> {
  try {
    outcome.value = { ok: true, text: await what() };
    return true;
  } catch (error) {
    outcome.value = { ok: false, text: (error as Error).message };
    return false;
  }
}

export function ArmTable({ experiment }: { experiment: ExperimentDetail }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={t.arms}>
      <table>
        <thead>
          <tr>
            <th scope="col">{c.arm}</th>
            <th scope="col">{c.greeting}</th>
            <th scope="col">{c.enabled}</th>
            <th scope="col" class="right">{c.alpha}</th>
            <th scope="col" class="right">{c.beta}</th>
            <th scope="col" class="right">{c.variance}</th>
            <th scope="col" class="right">{c.selections}</th>
            <th scope="col" class="right">{c.reward}</th>
            <th scope="col" class="right">{c.pass}</th>
            {mayAct() && <th scope="col"><span class="visually-hidden">{t.manage.edit}</span></th>}
          </tr>
        </thead>
        <tbody>
          {experiment.arms.map((arm, i) => <Row key={arm.arm_id} arm={arm} index={i} experiment={experiment} />)}
        </tbody>
      </table>
    </div>
  );
}

function Row({ arm, index, experiment }: { arm: Arm; index: number; experiment: ExperimentDetail }) {
  const [asking, setAsking] = useState<"disable" | "delete" | null>(null);
  const id = experiment.experiment_id;
  const isActive = experiment.active_arm_id === arm.arm_id;
  return (
    <tr>
      <th scope="row" class="arm-name">
        <svg class={armClass(index)} width="18" height="8" aria-hidden="true"><line class="line" x1="0" x2="18" y1="4" y2="4" /></svg>
        {arm.arm_id} {isActive && <Pill status="info">{texts.session.active}</Pill>}
      </th>
      <td class="long"><Greeting arm={arm} experimentId={id} /></td>
      <td class="nowrap">
        <input
          type="checkbox"
          checked={arm.enabled}
          disabled={!arm.enabled || !mayAct()}
          aria-label={t.manage.enabledLabel(arm.arm_id)}
          title={arm.enabled ? undefined : t.manage.disabled(instant(arm.end_dated_at))}
          onClick={(event) => { event.preventDefault(); setAsking("disable"); }}
        />{" "}
        <span class="muted small">{arm.enabled ? texts.health.yes : texts.health.no}</span>
      </td>
      <td class="right">{reward(arm.posterior_alpha)}</td>
      <td class="right">{reward(arm.posterior_beta)}</td>
      <td class="right">{variance(arm.evaluation_variance)}</td>
      <td class="right">{whole(arm.selection_count)}</td>
      <td class="right">{reward(arm.recent_reward_mean)}</td>
      <td class="right nowrap">{percent(arm.recent_semantic_pass_rate)}</td>
      {mayAct() && <td class="right"><button type="button" class="button small" aria-label={`${t.manage.remove} ${arm.arm_id}`} onClick={() => setAsking("delete")}>{t.manage.remove}</button></td>}
      {asking !== null && <Ask what={asking} arm={arm.arm_id} experimentId={id} onClose={() => setAsking(null)} />}
    </tr>
  );
}

function Ask({ what, arm, experimentId, onClose }: { what: "disable" | "delete"; arm: string; experimentId: string; onClose: () => void }) {
  const [pending, setPending] = useState(false);
  const act = async () => {
    setPending(true);
    await attempt(async () => {
      if (what === "disable") {
        await editArm(experimentId, arm, { enabled: false });
        return t.manage.done(arm);
      }
      const answer = await deleteArm(experimentId, arm);
      return answer.deleted ? t.manage.removed(arm) : t.manage.preserved(arm);
    });
    onClose();
  };
  const go = what === "disable" ? t.manage.disableGo : t.manage.remove;
  return (
    <Dialog title={`${go}: ${arm}`} go={go} danger pending={pending} onGo={() => void act()} onClose={onClose}>
      <p>{what === "disable" ? t.manage.disable(arm) : t.manage.delete(arm)}</p>
    </Dialog>
  );
}

/** A greeting that is edited in place: blank is refused, unchanged is left alone. */
function Greeting({ arm, experimentId }: { arm: Arm; experimentId: string }) {
  const [draft, setDraft] = useState<string | null>(null);
  const text = arm.greeting_text ?? "—";
  if (draft === null) {
    if (!mayAct() || !arm.enabled) return <span>{text}</span>;
    return <button type="button" class="edit" aria-label={`${t.manage.edit}: ${text}`} onClick={() => setDraft(arm.greeting_text ?? "")}>{text}</button>;
  }
  const save = async () => {
    const wanted = draft.trim();
    if (wanted === "") return;
    if (wanted !== arm.greeting_text) {
      const saved = await attempt(async () => {
        await editArm(experimentId, arm.arm_id, { greeting_text: wanted });
        return t.manage.saved(arm.arm_id);
      });
      if (!saved) return;
    }
    setDraft(null);
  };
  return (
    <form class="edit-form" onSubmit={(event) => { event.preventDefault(); void save(); }} onKeyDown={(event) => { if (event.key === "Escape") setDraft(null); }}>
      <input class="inline" autoFocus value={draft} aria-label={t.manage.greeting} aria-invalid={draft.trim() === ""} onInput={(event) => setDraft(event.currentTarget.value)} />
      <button type="submit" class="button small main" disabled={draft.trim() === ""}>{t.manage.save}</button>
      <button type="button" class="button small" onClick={() => setDraft(null)}>{t.manage.cancel}</button>
      {draft.trim() === "" && <span class="error-text" role="alert">{t.manage.required}</span>}
    </form>
  );
}
