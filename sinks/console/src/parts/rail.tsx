// The action rail below every page: the greeting to say, and the one button that sends it.
import { signal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { sendStimulus } from "../api/actions";
import { ApiError } from "../api/client";
import type { Alert } from "../api/records";
import { engineNow } from "../api/clock";
import { useSurfaces } from "../api/surface";
import { alerts, encounters, header, heardUpTo, inferences } from "../api/surfaces";
import { reward, shortId, shortened } from "../format";
import { type Phase, type RailEvent, countdown, idle, maySubmit, step } from "../rail";
import { selected } from "../store/place";
import { mayAct } from "../store/role";
import { type Status, calibration, finished } from "../status";
import { texts } from "../texts";
import { Pill } from "./basics";
import { Icon } from "./icon";

const t = texts.rail;
const rail = signal(idle);
const note = signal("");
const send = (event: RailEvent) => (rail.value = step(rail.value, event));

const phaseStatus: Record<Phase, Status> = {
  idle: "neutral",
  submitting: "progress",
  accepted: "info",
  measuring: "progress",
  completed: "ok",
  failed: "error",
};

export function Rail() {
  useSurfaces(...([header, encounters, inferences] as never[]));
  useEffect(() => void send({ type: "session" }), [selected.value]);
  useEffect(() => void send({ type: "encounters", encounters: encounters.data ?? [], heardUpTo: heardUpTo.value }), [encounters.data, heardUpTo.value, rail.value.phase]);
  useEffect(() => {
    if (selected.value !== null) send({ type: "alerts", sessionId: selected.value, alerts: alerts.data ?? [], message: refusal });
  }, [alerts.data, rail.value.phase]);
  const blocked = whyBlocked();
  const enabled = blocked === null && maySubmit(rail.value.phase) && mayAct();
  useShortcut(enabled);
  const session = header.data;
  const { phase } = rail.value;
  return (
    <section class="rail" aria-label={t.label}>
      <div class="what">
        <span class="muted small">
          {session === null ? t.label : <>{shortId(session.session_id)} · {texts.session.arm} <strong class="strong" title={session.active_arm ?? undefined}>{shortened(session.active_arm, 40)}</strong></>}
        </span>
        <p class="say" tabIndex={0}>{session === null ? t.noSession : (session.expected_greeting ?? texts.session.noGreeting)}</p>
      </div>
      {mayAct() ? (
        <form onSubmit={(event) => { event.preventDefault(); if (enabled) void submit(); }}>
          <label class="note"><span class="muted small">{t.note}</span><input class="inline" value={note.value} placeholder={t.notePlaceholder} maxLength={500} onInput={(event) => (note.value = event.currentTarget.value)} /></label>
          <button type="submit" class="button main send" disabled={!enabled} title={blocked ?? t.shortcut}>
            <Icon name={phase === "failed" ? "progress" : "send"} />
            {phase === "failed" ? t.retry : phase === "submitting" ? t.sending : t.send}
          </button>
        </form>
      ) : <span class="muted">{texts.roles.mayNotAct}</span>}
      <div class="state" role="status">
        <Pill status={phaseStatus[phase]}>{t.states[phase]}</Pill>
        <Message blocked={blocked} />
      </div>
    </section>
  );
}

function Message({ blocked }: { blocked: string | null }) {
  const { phase, encounter, message, unsure } = rail.value;
  const now = useTick(phase === "measuring");
  if (phase === "measuring" && encounter !== null) {
    const left = countdown(encounter, now);
    if (left === null) return null;
    return <span class="count" data-phase={left.phase}>{left.phase === "measure" ? t.phaseMeasure(left.seconds) : left.phase === "process" ? t.phaseProcess(left.seconds) : t.phaseLate}</span>;
  }
  if (phase === "completed" && encounter !== null) {
    const text = !finished(encounter.state) ? t.unheard : encounter.state === "completed" ? t.reward(reward(encounter.gated_reward)) : encounter.state === "rejected_no_frames" ? t.rejectedFrames : t.rejectedGate;
    return <strong>{text}</strong>;
  }
  if (phase === "failed") return <span>{[message, unsure ? t.unsure : null].filter(Boolean).join(" ")}</span>;
  if (phase === "accepted") return <span class="muted">{message ?? t.accepted}</span>;
  return blocked !== null && selected.value !== null ? <span class="muted">{blocked}</span> : null;
}

/** An alert names its reason last. */
const refusal = (alert: Alert) => t.refused(alert.message.split(": ").at(-1) ?? "");

/** Why nothing can be sent; null if something can. */
function whyBlocked(): string | null {
  const session = header.data;
  if (session === null) return t.noSession;
  if (session.status === "ended") return t.ended;
  return calibration(session).ready ? null : t.notReady;
}

async function submit(): Promise<void> {
  const sessionId = selected.value;
  if (sessionId === null || !maySubmit(rail.value.phase)) return;
  send({ type: "submit", newId: crypto.randomUUID(), alerts: alerts.data ?? [] });
  const actionId = rail.value.actionId!;
  try {
    const answer = await sendStimulus(sessionId, actionId, note.value.trim() || null);
    send({ type: "answered", actionId, accepted: answer.accepted, message: answer.message });
    note.value = "";
  } catch (error) {
    // Not refused, so it may have arrived: also an engine that says it could not acknowledge it does not know.
    const unsure = error instanceof ApiError && error.retryable;
    send({ type: "failed", actionId, message: (error as Error).message, unsure });
  }
}

/** Ctrl+Enter sends, from anywhere but an open dialog. */
function useShortcut(enabled: boolean): void {
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      if (!enabled || document.querySelector("dialog[open]") !== null) return;
      event.preventDefault();
      void submit();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, [enabled]);
}

/** The engine's clock, once a second while needed and the page is in sight. */
function useTick(needed: boolean): number {
  const [now, setNow] = useState(engineNow());
  useEffect(() => {
    if (!needed) return;
    const tick = () => { if (!document.hidden) setNow(engineNow()); };
    tick();
    const timer = setInterval(tick, 1000);
    return () => clearInterval(timer);
  }, [needed]);
  return now;
}
