// Starting and ending sessions: asked for here, done by the engine, and shown as done only when read back.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { endSession, startSession, awaited } from "../api/actions";
import { useSurfaces } from "../api/surface";
import { experimentIds, header, sessions } from "../api/surfaces";
import { shortId } from "../format";
import { go, selected } from "../store/place";
import { mayAct } from "../store/role";
import { settings } from "../store/settings";
import { texts } from "../texts";
import { Pill } from "./basics";
import { Dialog, Field } from "./dialog";
import { Icon } from "./icon";

const dialog = signal<"start" | "end" | null>(null);

export function SessionControls({ startOnly }: { startOnly?: boolean }) {
  if (!mayAct()) return null;
  const session = header.data;
  const endable = !startOnly && session !== null && session.status === "active" && session.session_id === selected.value;
  const waiting = awaited.value;
  return (
    <>
      {waiting !== null && <Waiting />}
      <button type="button" class="button" onClick={() => (dialog.value = "start")}><Icon name="plus" />{texts.live.start}</button>
      {!startOnly && <button type="button" class="button danger" disabled={!endable || waiting?.action === "end"} onClick={() => (dialog.value = "end")}><Icon name="stop" />{texts.live.end}</button>}
      {dialog.value === "start" && <StartDialog />}
      {dialog.value === "end" && session !== null && <EndDialog sessionId={session.session_id} />}
    </>
  );
}

/** What was asked for is no longer awaited once it is read back, or another session is selected. */
function Waiting() {
  useSurfaces(sessions as never);
  const waiting = awaited.value;
  useEffect(() => {
    if (waiting === null) return;
    const known = (sessions.data ?? []).find((s) => s.session_id === waiting.sessionId) ?? (header.data?.session_id === waiting.sessionId ? header.data : undefined);
    const done = waiting.action === "start" ? known !== undefined : known?.status === "ended";
    if (done || selected.value !== waiting.sessionId) awaited.value = null;
  }, [waiting, sessions.data, header.data, selected.value]);
  if (waiting === null) return null;
  const say = waiting.action === "start" ? texts.live.starting : texts.live.ending;
  return <Pill status="progress">{say(shortId(waiting.sessionId))}</Pill>;
}

function StartDialog() {
  useSurfaces(experimentIds as never);
  const [url, setUrl] = useState("");
  const [experiment, setExperiment] = useState(settings.value.default_experiment);
  const [touched, setTouched] = useState(false);
  const [pending, setPending] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  // One id for this dialog: trying again after a lost answer asks for the same session.
  const [actionId] = useState(() => crypto.randomUUID());
  const valid = url.trim() !== "" && experiment.trim() !== "";
  const go_ = async () => {
    setPending(true);
    setProblem(null);
    try {
      const answer = await startSession(url.trim(), experiment.trim(), actionId);
      selected.value = answer.session_id;
      awaited.value = { action: "start", sessionId: answer.session_id };
      dialog.value = null;
      go("live");
    } catch (error) {
      setProblem((error as Error).message);
      setPending(false);
    }
  };
  const required = (text: string) => (touched && text.trim() === "" ? texts.dialogs.required : null);
  return (
    <Dialog title={texts.dialogs.start} go={pending ? texts.dialogs.pending : texts.dialogs.go} pending={pending} valid={valid} problem={problem} onGo={() => void go_()} onClose={() => (dialog.value = null)}>
      <Field label={texts.dialogs.streamUrl} value={url} hint={texts.dialogs.streamHint} problem={required(url)} disabled={pending} onInput={(text) => { setUrl(text); setTouched(true); }} />
      <Field label={texts.dialogs.experiment} value={experiment} problem={experiment.trim() === "" ? texts.dialogs.required : null} disabled={pending} list="experiments" onInput={setExperiment} />
      <datalist id="experiments">{(experimentIds.data ?? []).map((e) => <option key={e.experiment_id} value={e.experiment_id} />)}</datalist>
    </Dialog>
  );
}

function EndDialog({ sessionId }: { sessionId: string }) {
  const [pending, setPending] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const [actionId] = useState(() => crypto.randomUUID());
  const end = async () => {
    setPending(true);
    setProblem(null);
    try {
      await endSession(sessionId, actionId);
      awaited.value = { action: "end", sessionId };
      dialog.value = null;
    } catch (error) {
      setProblem((error as Error).message);
      setPending(false);
    }
  };
  return (
    <Dialog title={texts.dialogs.endTitle} go={pending ? texts.dialogs.endPending : texts.dialogs.endGo} danger pending={pending} problem={problem} onGo={() => void end()} onClose={() => (dialog.value = null)}>
      <p>{texts.dialogs.end(shortId(sessionId))}</p>
    </Dialog>
  );
}
