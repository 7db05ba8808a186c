// Live Session: the smile as it comes, every greeting, and why its reward is what it is.
import { awaited } from "../api/actions";
import { trace } from "../api/trace";
import { useSurfaces } from "../api/surface";
import { attributionEvents, credits, deadLetters, encounters, header, outcomes, pitch, recordClasses, segments } from "../api/surfaces";
import { shortId, shortened } from "../format";
import { Banner, Pill } from "../parts/basics";
import { SessionControls } from "../parts/controls";
import { Detail } from "../parts/detail";
import { EncounterTable } from "../parts/encounters";
import { LedgerPanel } from "../parts/ledger";
import { SegmentsPanel } from "../parts/segments";
import { TracePanel, useFollowAnew } from "../parts/trace";
import { selected } from "../store/place";
import { calibration } from "../status";
import { texts } from "../texts";

export function Live() {
  useSurfaces(...([header, encounters, segments, recordClasses, deadLetters, pitch, trace, attributionEvents, outcomes, credits] as never[]));
  useFollowAnew(selected.value);
  return (
    <>
      <header>
        <h1>{texts.pages.live}</h1>
        <Headline />
        <div class="push"><SessionControls /></div>
      </header>
      <Greeting />
      {!isAwaited() && <Banner of={header as never} />}
      {selected.value === null ? <p class="empty">{texts.live.empty}</p> : (
        <>
          <TracePanel />
          <div class="split">
            <EncounterTable />
            <Detail />
          </div>
          <SegmentsPanel />
          <LedgerPanel />
        </>
      )}
    </>
  );
}

/** A session that was only asked for is not there yet, and that is no failure. */
const isAwaited = () => awaited.value?.action === "start" && header.state.value.error?.kind === "missing";

/** What should be said, from live state only. */
function Greeting() {
  const session = header.data;
  if (session === null) return null;
  const text = session.expected_greeting;
  return (
    <p class="expected muted" title={text ?? undefined}>
      {text === null ? texts.session.noGreeting : <>{texts.session.greeting}: <q>{shortened(text, 80)}</q></>}
    </p>
  );
}

/** Session, arm and calibration, from live state only. */
function Headline() {
  const session = header.data;
  const ready = calibration(session);
  if (session === null) return <Pill status={ready.status}>{`${texts.calibration.label}: ${ready.text}`}</Pill>;
  return (
    <>
      <span class="mono" title={session.session_id}>{shortId(session.session_id)}</span>
      <Pill status={session.status === "active" ? "ok" : "neutral"}>{texts.session[session.status]}</Pill>
      {session.status === "active" && <Pill status={ready.status}>{`${texts.calibration.label}: ${ready.text}`}</Pill>}
      <span class="muted">{texts.session.arm} <strong class="strong" title={session.active_arm ?? undefined}>{shortened(session.active_arm, 40)}</strong></span>
    </>
  );
}
