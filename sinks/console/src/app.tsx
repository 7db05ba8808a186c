// The frame: pages on the left, status on top, the action rail below every page.
import { useEffect } from "preact/hooks";
import { newestEpoch, stillFor } from "./api/clock";
import { apiBase, loginNeeded } from "./api/client";
import { liveness } from "./api/pulse";
import { disconnected, useSurfaces } from "./api/surface";
import { alerts, sessions, subsystems, unwell } from "./api/surfaces";
import { clock, duration, shortId } from "./format";
import { Icon } from "./parts/icon";
import { Pill } from "./parts/basics";
import { Experiments } from "./pages/experiments";
import { Health } from "./pages/health";
import { Live } from "./pages/live";
import { Login } from "./pages/login";
import { Overview } from "./pages/overview";
import { Physiology } from "./pages/physiology";
import { Sessions } from "./pages/sessions";
import { Rail } from "./parts/rail";
import { type Page, href, page, pages, selected } from "./store/place";
import { role, signOut } from "./store/role";
import { settings } from "./store/settings";
import { theme, themes } from "./store/theme";
import { texts } from "./texts";

const shown: Record<Page, () => preact.JSX.Element> = {
  overview: Overview,
  live: Live,
  experiments: Experiments,
  physiology: Physiology,
  health: Health,
  sessions: Sessions,
};

export function App() {
  return loginNeeded.value ? <Login /> : <Shell />;
}

function Shell() {
  useSurfaces(...([alerts, subsystems] as never[]));
  const Current = shown[page.value];
  useEffect(() => {
    document.title = `${texts.pages[page.value]} · ${texts.title}`;
  }, [page.value]);
  return (
    <div class="shell">
      <a class="skip" href="#page" onClick={(event) => { event.preventDefault(); document.getElementById("page")?.focus(); }}>{texts.skip}</a>
      <Navigation />
      <StatusLine />
      <main class="page" id="page" tabIndex={0} key={page.value}>
        <Current />
      </main>
      <Rail />
      {selected.value === null && <FirstSession />}
    </div>
  );
}

/** Nothing selected yet: the newest session is, running ones first. */
function FirstSession() {
  useSurfaces(sessions as never);
  const known = sessions.data;
  useEffect(() => {
    if (selected.value !== null || known === null) return;
    selected.value = (known.find((s) => s.status === "active") ?? known[0])?.session_id ?? null;
  }, [known]);
  return null;
}

function Navigation() {
  const count = unwell.value;
  return (
    <nav class="nav" aria-label={texts.shell.navigation}>
      <div class="brand">
        <img src="./icon.svg" alt="" width="28" height="28" />
        <span>{texts.product}</span>
      </div>
      {pages.map((name) => (
        <a key={name} href={href(name)} aria-current={page.value === name ? "page" : undefined}>
          <Icon name={name} />
          {texts.pages[name]}
          {name === "health" && count > 0 && <span class="badge" title={texts.shell.healthBadge(count)}><span aria-hidden="true">{count}</span><span class="visually-hidden">{texts.shell.healthBadge(count)}</span></span>}
        </a>
      ))}
      <div class="foot">
        <div class="segmented" role="group" aria-label={texts.shell.theme.label}>
          {themes.map((name) => (
            <button type="button" key={name} aria-pressed={theme.value === name} onClick={() => (theme.value = name)}>{texts.shell.theme[name]}</button>
          ))}
        </div>
      </div>
    </nav>
  );
}

/** Whether what is shown is what there is: lost, standing still, pushed or polled. */
function Liveness() {
  const t = texts.shell;
  const still = stillFor.value;
  if (disconnected() && (liveness.value !== "live" || still !== null)) return <Pill status="error" title={t.lostTitle}>{t.lost}</Pill>;
  if (still !== null) return <Pill status="warn" title={t.stillTitle}>{t.still(duration(still))}</Pill>;
  if (liveness.value === "live") return <Pill status="ok" title={t.liveTitle}>{t.live}</Pill>;
  return <Pill status="info" title={t.pollingTitle}>{liveness.value === "connecting" ? t.connecting : t.polling}</Pill>;
}

function StatusLine() {
  return (
    <div class="statusline" role="region" aria-label={texts.status.info}>
      <span><b>{settings.value.environment_label}</b></span>
      <span>{texts.shell.api} <b>{apiBase.href.replace(/\/$/, "")}</b></span>
      <span>{texts.shell.selected} <b>{selected.value === null ? texts.shell.noSelected : shortId(selected.value)}</b></span>
      <span class="push">
        {role.value !== null && <span>{texts.shell.signedIn(role.value)}</span>}
        {role.value !== null && <button type="button" class="button small" onClick={() => void signOut()}>{texts.shell.signOut}</button>}
        <time>{newestEpoch.value !== null && texts.shell.asOf(clock(newestEpoch.value))}</time>
        <span role="status"><Liveness /></span>
      </span>
    </div>
  );
}


