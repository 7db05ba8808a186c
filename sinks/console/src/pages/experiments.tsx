// Experiments: what is believed of each greeting, how that came about, and its management.
import { useEffect, useState } from "preact/hooks";
import { addArm, createExperiment } from "../api/actions";
import type { ExperimentDetail } from "../api/records";
import { useSurfaces } from "../api/surface";
import { chosenExperiment, experiment, experimentIds, header, posteriors, rewards } from "../api/surfaces";
import { instant, percent, reward, variance, whole } from "../format";
import { ArmTable, attempt, outcome } from "../parts/arms";
import { Banner, Card, Panel, Pill, Rows, Show } from "../parts/basics";
import { Dialog, Field } from "../parts/dialog";
import { Icon } from "../parts/icon";
import { PosteriorPanel } from "../parts/posteriors";
import { RewardPanel } from "../parts/rewards";
import { mayAct } from "../store/role";
import { settings } from "../store/settings";
import { texts } from "../texts";

const t = texts.experiments;

export function Experiments() {
  useSurfaces(...([experimentIds, experiment, posteriors, rewards] as never[]));
  const [asking, setAsking] = useState<"create" | "add" | null>(null);
  const ids = (experimentIds.data ?? []).map((row) => row.experiment_id);
  useEffect(() => choose(ids), [ids.join(), header.data?.experiment_id]);
  const done = outcome.value;
  return (
    <>
      <header>
        <h1>{texts.pages.experiments}</h1>
        {ids.length > 0 && (
          <label class="muted">{t.choose}{" "}
            <select class="inline" value={chosenExperiment.value ?? ""} onChange={(event) => (chosenExperiment.value = event.currentTarget.value)}>
              {ids.map((id) => <option key={id} value={id}>{id}</option>)}
            </select>
          </label>
        )}
        <span role="status" class="toast">{done !== null && <Pill status={done.ok ? "ok" : "error"}>{done.text}</Pill>}</span>
        {mayAct() && (
          <div class="push">
            <button type="button" class="button" disabled={experiment.data === null} onClick={() => setAsking("add")}><Icon name="plus" />{t.manage.add}</button>
            <button type="button" class="button" onClick={() => setAsking("create")}><Icon name="plus" />{t.manage.create}</button>
          </div>
        )}
      </header>
      <Banner of={experimentIds as never} />
      {experimentIds.data === null && experimentIds.state.value.error === null && <p class="empty">{texts.loading}</p>}
      {experimentIds.data !== null && <Show of={experiment} empty={ids.length === 0 ? t.empty : texts.loading}>
        {(data) => (
          <>
            <Cards data={data} />
            <div class="pair">
              <PosteriorPanel arms={data.arms} />
              <RewardPanel arms={data.arms.map((arm) => arm.arm_id)} />
            </div>
            <Panel title={t.arms} flush><ArmTable experiment={data} /></Panel>
            <Panel title={t.latest}>
              {data.last_update_summary === null ? <p class="empty">{t.noUpdate}</p> : <p>{data.last_update_summary} <span class="muted">{instant(data.last_updated_utc)}</span></p>}
            </Panel>
          </>
        )}
      </Show>}
      {asking === "create" && <Create onClose={() => setAsking(null)} />}
      {asking === "add" && experiment.data !== null && <Add id={experiment.data.experiment_id} onClose={() => setAsking(null)} />}
    </>
  );
}

/** Shows the selected session's experiment first, else the default one, else any. */
function choose(ids: string[]): void {
  if (chosenExperiment.value !== null && (ids.length === 0 || ids.includes(chosenExperiment.value))) return;
  const wanted = [header.data?.experiment_id, settings.value.default_experiment, ids[0]];
  chosenExperiment.value = wanted.find((id) => id !== null && id !== undefined && ids.includes(id)) ?? null;
}

function Cards({ data }: { data: ExperimentDetail }) {
  const active = data.arms.find((arm) => arm.arm_id === data.active_arm_id);
  const rated = data.arms.filter((arm) => arm.recent_reward_mean !== null);
  const best = rated.sort((a, b) => b.recent_reward_mean! - a.recent_reward_mean!)[0];
  return (
    <div class="cards">
      <Card title={t.card} status="info"><div class="value">{data.label ?? data.experiment_id}</div><p class="muted">{data.experiment_id}</p></Card>
      {active === undefined
        ? <Card title={t.activeArm} status={data.active_arm_id === null ? "neutral" : "warn"}><div class="value">{data.active_arm_id ?? "—"}</div><p class="muted">{data.active_arm_id === null ? t.noActive : t.unknownActive}</p></Card>
        : (
          <Card title={t.activeArm} status="info" pill={`${whole(active.selection_count)} ${t.selections}`}>
            <div class="value">{active.arm_id}</div>
            <Rows rows={[["α, β", `${reward(active.posterior_alpha)}, ${reward(active.posterior_beta)}`], [t.columns.variance, variance(active.evaluation_variance)]]} />
          </Card>
        )}
      <Card title={t.arms} status="neutral" pill={texts.overview.arms(data.arms.length)}>
        <div class="value">{reward(best?.recent_reward_mean)}</div>
        <p class="muted">{best === undefined ? t.bestMean : t.best(best.arm_id, percent(best.recent_semantic_pass_rate))}</p>
      </Card>
    </div>
  );
}

function Create({ onClose }: { onClose: () => void }) {
  const [fields, setFields] = useState({ id: "", label: "", arm: "", greeting: "" });
  const set = (name: keyof typeof fields) => (value: string) => setFields((old) => ({ ...old, [name]: value }));
  const [state, setState] = useState<{ pending: boolean; problem: string | null }>({ pending: false, problem: null });
  const { id, label, arm, greeting } = fields;
  const valid = Object.values(fields).every((value) => value.trim() !== "");
  const create = async () => {
    setState({ pending: true, problem: null });
    const done = await attempt(async () => {
      await createExperiment({ experiment_id: id.trim(), label: label.trim(), arms: [{ arm: arm.trim(), greeting_text: greeting.trim() }] });
      return t.manage.created(id.trim());
    });
    if (!done) return setState({ pending: false, problem: outcome.value?.text ?? null });
    chosenExperiment.value = id.trim();
    onClose();
  };
  return (
    <Dialog title={t.manage.create} go={t.manage.save} pending={state.pending} valid={valid} problem={state.problem} onGo={() => void create()} onClose={onClose}>
      <Field label={t.manage.id} value={id} onInput={set("id")} disabled={state.pending} />
      <Field label={t.manage.label} value={label} onInput={set("label")} disabled={state.pending} />
      <Field label={t.manage.firstArm} value={arm} onInput={set("arm")} disabled={state.pending} />
      <Field label={t.manage.greeting} value={greeting} onInput={set("greeting")} disabled={state.pending} />
    </Dialog>
  );
}

function Add({ id, onClose }: { id: string; onClose: () => void }) {
  const [arm, setArm] = useState("");
  const [greeting, setGreeting] = useState("");
  const [state, setState] = useState<{ pending: boolean; problem: string | null }>({ pending: false, problem: null });
  const add = async () => {
    setState({ pending: true, problem: null });
    const done = await attempt(async () => {
      await addArm(id, arm.trim(), greeting.trim());
      return t.manage.added(arm.trim());
    });
    if (!done) return setState({ pending: false, problem: outcome.value?.text ?? null });
    onClose();
  };
  return (
    <Dialog title={`${t.manage.add}: ${id}`} go={t.manage.save} pending={state.pending} valid={arm.trim() !== "" && greeting.trim() !== ""} problem={state.problem} onGo={() => void add()} onClose={onClose}>
      <Field label={t.manage.armId} value={arm} onInput={setArm} disabled={state.pending} />
      <Field label={t.manage.greeting} value={greeting} onInput={setGreeting} disabled={state.pending} />
    </Dialog>
  );
}
