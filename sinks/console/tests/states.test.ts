// Every page and every state of the console in a real browser, on a made-up engine that shows the rare ones, too.
import { join } from "node:path";
import type { Server } from "node:http";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { artefacts, launch, violations } from "./browser";
import { serve } from "./serve";
import { ENDED, SESSION, type World, makeWorld } from "./world";

const pages = ["overview", "live", "experiments", "physiology", "health", "sessions"] as const;

let browser: Browser;
let server: Server;
let url: string;
let world: World;
let tab: Page;
let faults: string[];

beforeAll(async () => {
  browser = await launch();
  ({ server, url } = await serve(() => world));
});
afterAll(async () => {
  await browser?.close();
  server?.close();
});
/** What is polled for so often, ms. */
const polled = (ms: number) => Object.fromEntries(["overview", "session_header", "live_encounters", "experiments", "physiology", "comodulation", "health", "sessions", "alerts"].map((name) => [`${name}_poll_ms`, ms]));

beforeEach(async () => {
  world = makeWorld();
  // Nobody waits for the defaults: what changes is to be seen soon, however busy the machine is.
  world.settings = { ...polled(500), api_timeout_seconds: 30 };
  faults = [];
  tab = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "dark" });
  tab.on("pageerror", (error) => faults.push(String(error)));
});
afterEach(async () => {
  await tab.close();
  expect(faults).toEqual([]);
});

const open = async (page: (typeof pages)[number], session = SESSION) => {
  await tab.goto(`${url}#/${page}/${session}`);
  await tab.locator("h1").waitFor();
};
const main = () => tab.locator("main");
const rail = () => tab.locator("section.rail");
const pill = () => rail().locator(".state .pill");
const shows = (text: string | RegExp, scope = main()) => scope.getByText(text).first().waitFor({ timeout: 20_000 });

describe("every page", () => {
  for (const theme of ["dark", "light"] as const) {
    for (const page of pages) {
      it(`${page} is complete and accessible, ${theme}`, async () => {
        await tab.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
        await open(page);
        await tab.waitForTimeout(700);
        await tab.screenshot({ path: join(artefacts, `${page}-${theme}.png`) });
        expect(await violations(tab)).toEqual([]);
        expect(await main().locator(".banner").count()).toBe(0);
        await tab.setViewportSize({ width: 834, height: 1112 });
        await tab.waitForTimeout(200);
        await tab.screenshot({ path: join(artefacts, `${page}-${theme}-tablet.png`) });
        const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        expect(wide, "nothing is wider than a tablet").toBeLessThanOrEqual(0);
      });
    }
  }

  it("draws the smile at once: the windows around greetings are shaded", async () => {
    await open("live");
    const canvas = main().locator(".trace canvas").first();
    await canvas.waitFor();
    // Without a time axis there would be four thin lines and nothing else.
    const painted = () =>
      canvas.evaluate((element: HTMLCanvasElement) => {
        const { data } = element.getContext("2d")!.getImageData(0, 0, element.width, element.height);
        let opaque = 0;
        for (let at = 3; at < data.length; at += 4) if (data[at]! > 0) opaque += 1;
        return opaque / (data.length / 4);
      });
    await expect.poll(painted, { timeout: 3000 }).toBeGreaterThan(0.12);
  });

  it("is reached by keyboard, and the selected session is kept", async () => {
    await open("overview");
    await tab.keyboard.press("Tab");
    await tab.keyboard.press("Tab");
    expect(await tab.evaluate(() => document.activeElement?.textContent)).toBe("Overview");
    await tab.keyboard.press("Tab");
    await tab.keyboard.press("Enter");
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor();
    expect(tab.url()).toContain(SESSION);
  });
});

/** Texts as long as nobody would write them, wherever the world has a free one. */
function lengthen(world: World): void {
  const long = "Supercalifragilistic".repeat(12);
  const sentence = "so it goes on and on ".repeat(40);
  for (const session of world.sessions) Object.assign(session, { expected_greeting: long + sentence, active_arm: long, experiment_id: long });
  for (const e of world.encounters) Object.assign(e, { active_arm: long, expected_greeting: sentence, notes: [sentence, long] });
  for (const arm of world.experiment.arms) Object.assign(arm, { arm_id: `${arm.arm_id}${long}`, greeting_text: sentence });
  Object.assign(world.experiment, { label: long, last_update_summary: sentence + long, active_arm_id: world.experiment.arms[0]!.arm_id });
  for (const alert of world.alerts) Object.assign(alert, { message: long + sentence });
  for (const part of world.health.subsystems) Object.assign(part, { label: long, detail: long + sentence, operator_action_hint: sentence });
  for (const probe of Object.values(world.health.subsystem_probes)) Object.assign(probe as object, { label: long });
  for (const person of [world.physiology.streamer, world.physiology.operator]) Object.assign(person as object, { provider: long });
}

describe("every page, in every state of its surfaces,", () => {
  /** What stands where there is nothing yet. */
  const empty = {
    overview: /Nothing runs\. A session appears here when it starts/,
    live: /Select a session, or start one/,
    experiments: /No experiment yet\. Create one/,
    physiology: /Select a session: heart rate/,
    health: /No alert in the last hour/,
    sessions: /No session yet/,
  };
  /** A part of what stands there otherwise. */
  const content = { overview: "Greeting line", live: "0.911", experiments: "warm_welcome", physiology: "42 ms", health: "Co-modulation", sessions: "0.293" };

  async function sound(name: string): Promise<void> {
    await tab.screenshot({ path: join(artefacts, `${name}.png`) });
    expect(await violations(tab)).toEqual([]);
    for (const width of [1280, 834]) {
      await tab.setViewportSize({ width, height: 900 });
      const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      expect(wide, `nothing is wider than ${width}`).toBeLessThanOrEqual(0);
    }
  }

  for (const page of pages) {
    it(`${page} says what will appear and what makes it appear`, async () => {
      world.nothing = true;
      await tab.goto(`${url}#/${page}`);
      await shows(empty[page]);
      expect(await main().locator(".banner").count()).toBe(0);
      await sound(`${page}-empty`);
    });
    it(`${page} says that it loads`, async () => {
      world.late.set("", 4000);
      await open(page);
      await shows("Loading…");
      for (const text of Object.values(empty)) expect(await main().getByText(text).count()).toBe(0);
      await sound(`${page}-loading`);
      await shows(content[page]);
    });
    it(`${page} says what fails, and shows no empty state in its place`, async () => {
      world.failing.set("", 503);
      await open(page);
      await shows(/made to fail \(503\) It is tried again by itself\./);
      expect(await main().getByText("Loading…").count()).toBe(0);
      expect(await main().getByText(empty[page]).count()).toBe(0);
      await sound(`${page}-error`);
    });
    it(`${page} keeps what it had`, async () => {
      await open(page);
      await shows(content[page]);
      world.failing.set("", 503);
      await tab.getByText(/Shown is the last that came, at/).first().waitFor({ timeout: 20_000 });
      await shows(content[page]);
      await sound(`${page}-stale`);
    });
    it(`${page} has room for very long texts`, async () => {
      lengthen(world);
      await open(page);
      await shows(/Supercalifragilistic/);
      await tab.waitForTimeout(500);
      await sound(`${page}-long`);
    });
  }
});

describe("the overview", () => {
  it("opens the active session by its card", async () => {
    await open("overview", ENDED);
    await main().getByRole("button", { name: /Open Live Session/ }).click();
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor();
    expect(tab.url()).toContain(SESSION);
  });
  it("calls the newest greeting silent when nothing was heard, and physiology stale as soon as one of two is", async () => {
    world.encounters[1] = { ...world.encounters[0]! };
    world.heardTo = 96;
    Object.assign(world.physiology.operator!, { rmssd_ms: null });
    await open("overview");
    const card = (name: string) => main().locator(".card").filter({ has: tab.getByRole("heading", { name, exact: true }) }).locator(".pill");
    await card("Latest encounter").getByText("nothing heard").waitFor({ timeout: 20_000 });
    expect(await card("Physiology").textContent()).toBe("stale");
  });
  it("lists the newest eight alerts", async () => {
    world.alerts = Array.from({ length: 12 }, (_, i) => ({ ...world.alerts[0]!, alert_id: `n${i}`, message: `message ${i}`, emitted_at_utc: new Date(Date.parse("2026-01-05T10:00:00Z") + i * 1000).toISOString() }));
    await open("overview");
    await shows("message 11");
    expect(await main().locator("tbody tr").count()).toBe(8);
    expect(await main().getByText("message 3", { exact: true }).count()).toBe(0);
  });
});

describe("a live session", () => {
  it("explains each way a greeting can end", async () => {
    await open("live");
    await shows("It is judged now whether the greeting was said", main());
    await main().getByRole("row", { name: /#2/ }).click();
    await shows(/not heard \(p_match 6\s%\), so the gate is closed: a smile of P90 0.585 was not admitted/);
    await main().getByRole("row", { name: /#1/ }).click();
    await shows("P90 0.911 × 1 = reward 0.911");
    await shows("invalid: baseline");
    await shows("not measured: baseline window invalid");
    await shows(/Observational: none of this changes the reward/);
    world.encounters.find((e) => e.encounter_id === "e10")!.state = "rejected_no_frames";
    world.encounters.find((e) => e.encounter_id === "e10")!.n_frames_in_window = 0;
    await shows(/so no reward could be computed/);
  });
  it("says of a greeting after which nothing was heard that it is not judged, and lets the next be sent", async () => {
    await open("live");
    await shows("It is judged now whether the greeting was said", main());
    world.heardTo = 96;
    await shows("No word was heard");
    await shows("nothing heard");
    await tab.screenshot({ path: join(artefacts, "nothing-heard.png") });
    expect(await rail().getByRole("button").isEnabled()).toBe(true);
  });
  it("keeps the picked greeting while its row exists, then shows the newest", async () => {
    await open("live");
    await main().getByRole("row", { name: /#1/ }).click();
    await shows(/What happened · #1/);
    world.encounters[1]!.p90_intensity = 0.294;
    await shows("0.294");
    await shows(/What happened · #1/);
    world.encounters = world.encounters.filter((e) => e.encounter_id !== "e10");
    await shows(/What happened · #3/);
  });
  it("names every calibration", async () => {
    world.session.is_calibrating = true;
    world.session.calibration_frames_accumulated = 12;
    await open("live");
    await shows("Calibration: calibrating 12/45 frames");
    expect(await rail().getByRole("button").isDisabled()).toBe(true);
    world.session.calibration_frames_accumulated = 60;
    await shows("Calibration: ready");
  });
  it("starts and ends a session by its dialogs", async () => {
    await open("live");
    await main().getByRole("button", { name: "Start session" }).click();
    const start = tab.getByRole("dialog").getByRole("button", { name: "Start" });
    expect(await start.isDisabled()).toBe(true);
    await tab.getByLabel("Stream URL").fill("rtmp://host/app/key");
    await start.click();
    await expect.poll(() => world.sent.at(-1)?.path).toBe("sessions");
    expect(world.sent.at(-1)?.body).toMatchObject({ stream_url: "rtmp://host/app/key", experiment_id: "greeting_line_v1" });
    await tab.getByRole("dialog").waitFor({ state: "detached" });
    await main().getByRole("button", { name: "End session" }).click();
    await tab.getByRole("dialog").getByRole("button", { name: "End session" }).click();
    await shows(/The end of session b8267505 was asked for/);
    world.session.status = "ended";
    await main().getByText(/The end of session/).waitFor({ state: "detached", timeout: 20_000 });
  });
  it("waits for a session that was asked for, without calling it a failure", async () => {
    world.started = "11111111-2222-4333-8444-555555555555";
    await open("live");
    await main().getByRole("button", { name: "Start session" }).click();
    await tab.getByLabel("Stream URL").fill("rtmp://host/app/key");
    await tab.keyboard.press("Enter");
    await shows(/was asked for; waiting for it to appear/);
    await tab.waitForTimeout(500);
    expect(await main().getByText(/^Session: /).count()).toBe(0);
    world.sessions.unshift({ ...world.session, session_id: world.started });
    await main().getByText(/waiting for it to appear/).waitFor({ state: "detached", timeout: 20_000 });
  });
});

describe("the action rail", () => {
  const button = () => rail().getByRole("button");

  it("goes through its states by keyboard, up to the reward", async () => {
    await open("live");
    await pill().getByText("idle").waitFor();
    await tab.keyboard.press("Control+Enter");
    await pill().getByText("accepted").waitFor();
    const first = world.encounters[1]!;
    // The engine's clock decides, and stands where the test puts it: first in the window, then behind it.
    const at = new Date(Date.now() + 60_000).toISOString();
    world.epoch = Date.now();
    world.encounters = [{ ...first, encounter_id: (world.sent[0]!.body as { client_action_id: string }).client_action_id, state: "stimulus_issued", stimulus_time_utc: at, segment_timestamp_utc: new Date(Date.now() + 900_000).toISOString(), gated_reward: null as never, semantic_gate: null as never }, ...world.encounters];
    await pill().getByText("measuring").waitFor({ timeout: 20_000 });
    await rail().getByText(/measuring \d+ s/).waitFor({ timeout: 20_000 });
    await tab.screenshot({ path: join(artefacts, "rail-measuring.png") });
    world.epoch = Date.now() + 120_000;
    await rail().getByText(/judging \d+ s/).waitFor({ timeout: 20_000 });
    Object.assign(world.encounters[0]!, { state: "completed", semantic_gate: 1, gated_reward: 0.402, p90_intensity: 0.402 });
    await pill().getByText("completed").waitFor({ timeout: 20_000 });
    await rail().getByText("Reward 0.402").waitFor();
    expect(world.sent).toHaveLength(1);
  });
  it("retries what may be lost under the same id, and what was refused under a new one", async () => {
    await open("live");
    world.stimulus = "lost";
    await button().click();
    await pill().getByText("failed").waitFor();
    await rail().getByText(/It is not known whether it arrived/).waitFor();
    world.stimulus = 503;
    await button().click();
    await expect.poll(() => rail().textContent()).toContain("a measurement window is open It is not known");
    world.stimulus = 409;
    await button().click();
    await rail().getByText("a measurement window is open").waitFor();
    world.stimulus = 200;
    await button().click();
    await pill().getByText("accepted").waitFor();
    // The browser itself may send a lost request twice; the ids tell submissions apart.
    const ids = world.sent.map((s) => (s.body as { client_action_id: string }).client_action_id);
    expect(ids.length).toBeGreaterThanOrEqual(3);
    expect(new Set(ids.slice(0, -1)).size).toBe(1);
    expect(ids[0]).not.toBe(ids.at(-1));
  });
  it("is sent by Enter in the note, once, and with the note", async () => {
    await open("live");
    await pill().getByText("idle").waitFor();
    await rail().getByLabel("Note").fill("before the raid");
    await rail().getByLabel("Note").press("Enter");
    await pill().getByText("accepted").waitFor();
    await tab.keyboard.press("Control+Enter");
    expect(world.sent.map((s) => s.body)).toMatchObject([{ operator_note: "before the raid" }]);
  });
  it("fails when the engine refuses what was accepted first, and says why", async () => {
    await open("live");
    await button().click();
    await pill().getByText("accepted").waitFor();
    world.alerts = [{ alert_id: "a9", severity: "warning", kind: "stimulus_failed", message: "A stimulus was not accepted: the reaction to an earlier one is still being measured", session_id: SESSION, subsystem_key: null, emitted_at_utc: "2026-01-05T10:01:36Z", acknowledged: false }, ...world.alerts];
    await pill().getByText("failed").waitFor({ timeout: 20_000 });
    await rail().getByText("The engine refused it: the reaction to an earlier one is still being measured.").waitFor();
  });
  it("is reset by another session, and offers nothing where one has ended", async () => {
    await open("live");
    await button().click();
    await pill().getByText("accepted").waitFor();
    await open("live", ENDED);
    await pill().getByText("idle").waitFor();
    await rail().getByText("The selected session has ended.").waitFor();
    expect(await button().isDisabled()).toBe(true);
  });
});

describe("physiology", () => {
  it("tells its four states apart", async () => {
    const base = world.physiology.streamer as object;
    await open("physiology");
    const state = (role: string) => main().locator(`[data-role=${role}]`).getAttribute("data-state");
    await expect.poll(() => state("streamer")).toBe("fresh");
    await expect.poll(() => state("operator")).toBe("stale");
    world.physiology.streamer = { ...base, rmssd_ms: null, is_stale: true };
    world.physiology.operator = null;
    await expect.poll(() => state("streamer"), { timeout: 20_000 }).toBe("no-rmssd");
    await expect.poll(() => state("operator")).toBe("absent");
    await shows(/^stale ·/);
    await tab.screenshot({ path: join(artefacts, "physiology-absent.png") });
  });
  it("shows a null index as information with its reason", async () => {
    Object.assign(world.physiology.comodulation!, { co_modulation_index: null, null_reason: "insufficient_pairs", n_paired_observations: 2 });
    await open("physiology");
    await shows("2 of 4 paired minutes");
    await shows(/Too few minutes in which both people have a fresh value/);
    expect(await main().locator(".comodulation .pill.info").count()).toBe(1);
    await shows("Co-modulation, 10-minute window");
    for (const [reason, text] of [["no_window_yet", "No window has been computed yet."], ["zero_variance", /did not vary/], ["undefined", /not defined for these values/]] as const) {
      Object.assign(world.physiology.comodulation!, { null_reason: reason });
      await shows(text);
      expect(await main().locator(".comodulation .pill.warn, .comodulation .pill.error").count()).toBe(0);
    }
  });
});

describe("health", () => {
  it("names five states, and the first failing part's hint", async () => {
    world.health.overall_state = "error";
    world.health.error_count = 1;
    Object.assign(world.health.subsystems[4]!, { state: "error", operator_action_hint: "Look at the capture device." });
    await open("health");
    for (const state of ["ok", "degraded", "recovering", "error", "unknown"]) await main().locator("td .pill").getByText(state, { exact: true }).first().waitFor();
    await shows("Capture: Look at the capture device.");
    expect(await main().locator(".probes li > span:first-child").allTextContents()).toEqual(["PostgreSQL", "Kafka", "Language model", "Speech", "Engine"]);
    for (const state of ["not configured", "timed out", "unknown"]) await main().locator(".probes .pill").getByText(state).first().waitFor();
    await shows("holds the frontier");
    const looks = await Promise.all(["degraded", "recovering", "error"].map((s) => main().locator("td .pill").getByText(s, { exact: true }).first().evaluate((e) => getComputedStyle(e.closest(".pill")!).color + getComputedStyle(e.closest(".pill")!).borderStyle)));
    expect(new Set(looks).size).toBe(3);
  });
  it("lists what stalls before what is well, with why", async () => {
    await open("health");
    const rows = main().getByRole("region", { name: "Sources" }).locator("tbody tr");
    await rows.first().getByText("held back by the byte budget").waitFor();
    expect(await rows.locator("td:first-child").allTextContents()).toEqual(["av.audio-0", "physio-0", SESSION, "control-0"]);
    world.sources[0]!.state = "healthy";
    world.sources[0]!.reason = null;
    await rows.first().getByText("no records").waitFor();
  });
});

describe("experiments", () => {
  it("are created and edited, arms disabled and deleted, posteriors never written", async () => {
    await open("experiments");
    await main().getByRole("button", { name: "New experiment" }).click();
    const save = tab.getByRole("dialog").getByRole("button", { name: "Save" });
    expect(await save.isDisabled()).toBe(true);
    for (const [label, text] of [["Id", "second"], ["Label", "Second"], ["First arm", "one"], ["Greeting", "Hi"]] as const) await tab.getByRole("dialog").getByLabel(label, { exact: true }).fill(text);
    await save.click();
    await expect.poll(() => world.sent.at(-1)).toEqual({ method: "POST", path: "experiments", body: { experiment_id: "second", label: "Second", arms: [{ arm: "one", greeting_text: "Hi" }] } });
    world.experiment.experiment_id = "greeting_line_v1";
    await open("experiments");
    await main().getByRole("button", { name: /^Edit greeting: What are you/ }).click();
    const box = main().getByLabel("Greeting", { exact: true });
    await box.fill("  ");
    expect(await main().getByRole("button", { name: "Save" }).isDisabled()).toBe(true);
    await box.fill(" What are you working on today? ");
    await box.press("Enter");
    await box.waitFor({ state: "detached" });
    expect(world.sent.length, "unchanged is not sent").toBe(1);
    await main().getByRole("button", { name: /^Edit greeting: What are you/ }).click();
    await box.fill("How is it going?");
    await box.press("Enter");
    await expect.poll(() => world.sent.at(-1)).toEqual({ method: "PATCH", path: "experiments/greeting_line_v1/arms/direct_question", body: { greeting_text: "How is it going?" } });
    await main().getByRole("checkbox", { name: /warm_welcome/ }).click();
    await tab.getByRole("dialog").getByRole("button", { name: "Disable" }).click();
    await expect.poll(() => world.sent.at(-1)?.body).toEqual({ enabled: false });
    expect(await main().getByRole("checkbox", { name: /simple_hello/ }).isDisabled()).toBe(true);
    await main().getByRole("button", { name: "Delete warm_welcome" }).click();
    await tab.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await shows("Arm warm_welcome was disabled; its posterior is preserved.");
    expect(await main().locator("td input:not([type=checkbox])").count()).toBe(0);
  });
  it("take another arm by keyboard alone", async () => {
    await open("experiments");
    await shows("warm_welcome");
    await main().getByRole("button", { name: "Add arm" }).focus();
    await tab.keyboard.press("Enter");
    await tab.getByRole("dialog").getByLabel("Arm").waitFor();
    for (const text of ["fifth", "Tab", "Good evening"]) await (text === "Tab" ? tab.keyboard.press("Tab") : tab.keyboard.type(text));
    await tab.keyboard.press("Enter");
    await expect.poll(() => world.sent.at(-1)).toEqual({ method: "POST", path: "experiments/greeting_line_v1/arms", body: { arm: "fifth", greeting_text: "Good evening" } });
    await shows("Arm fifth was added.");
  });
  it("warn of an active arm that is not among theirs", async () => {
    world.experiment.active_arm_id = "gone";
    await open("experiments");
    await shows("The active arm is not in this list.");
    expect(await main().locator(".card.warn").count()).toBe(1);
  });
  it("go back through the history of their posteriors", async () => {
    await open("experiments");
    await main().getByRole("slider").fill("0");
    await main().getByText("0.500").first().waitFor();
    await main().getByRole("slider").fill("10");
    await shows(/Z · /);
  });
});

describe("sessions", () => {
  it("are selected by a click and opened by Enter", async () => {
    await open("sessions", ENDED);
    await main().getByRole("row", { name: /b8267505/ }).click();
    await expect.poll(() => tab.url()).toContain(SESSION);
    await main().getByRole("row", { name: /b8267505/ }).press("Enter");
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor();
    await tab.getByRole("link", { name: "Sessions" }).click();
    await main().getByRole("row", { name: /0c9d2f6e/ }).dblclick();
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor();
    expect(tab.url()).toContain(ENDED);
  });
});

describe("the cadence", () => {
  const never = polled(600_000);
  const session = `operator/sessions/${SESSION}`;
  const asked = (path: string) => world.asked.filter((known) => known === path).length;

  it("is each surface's own; what is not on the page is not asked for", async () => {
    world.settings = { ...never, live_encounters_poll_ms: 150 };
    await open("live");
    await expect.poll(() => asked(`${session}/encounters`), { timeout: 20_000 }).toBeGreaterThan(8);
    expect([session, "segments", "operator/alerts"].map(asked)).toEqual([1, 1, 1]);
    expect(["operator/overview", "operator/health", "operator/sessions", "experiments"].map(asked)).toEqual([0, 0, 0, 0]);
    await tab.getByRole("link", { name: /^Health/ }).click();
    await shows("Co-modulation");
    expect(asked("operator/health"), "at once on entering").toBe(1);
  });
  it("asks for nothing while the page is hidden, and for all when it is back", async () => {
    world.settings = { ...never, live_encounters_poll_ms: 150 };
    await open("live");
    await expect.poll(() => asked(`${session}/encounters`)).toBeGreaterThan(2);
    const hide = (hidden: boolean) => tab.evaluate((value) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden);
    await hide(true);
    await tab.waitForTimeout(300);
    const before = asked(`${session}/encounters`);
    await tab.waitForTimeout(900);
    expect(asked(`${session}/encounters`)).toBe(before);
    await hide(false);
    await expect.poll(() => [asked(session), asked("segments")]).toEqual([2, 2]);
  });
  it("of a slow surface holds up no other", async () => {
    world.settings = polled(500);
    world.late.set("segments", 60_000);
    await open("live");
    await shows("0.911");
    await shows("Loading…");
    await shows(/Segments: No answer within 5 s\. It is tried again by itself\./);
  });
  it("is not waited for after an action", async () => {
    world.settings = never;
    await open("live");
    await shows("0.911");
    await pill().getByText("idle").waitFor();
    const read = () => [session, `${session}/encounters`, "operator/alerts"].map(asked);
    expect(read()).toEqual([1, 1, 1]);
    await tab.keyboard.press("Control+Enter");
    await expect.poll(read).toEqual([2, 2, 2]);
  });
});

describe("failures", () => {
  it("stay with their own surface, keep the last good data, and pass", async () => {
    await open("live");
    await shows("0.911");
    world.failing.set("segments", 503);
    await shows(/Segments: made to fail \(503\)/);
    await shows(/Shown is the last that came/);
    await shows("0.911");
    expect(await main().locator(".banner").count()).toBe(1);
    await tab.screenshot({ path: join(artefacts, "surface-error.png") });
    world.failing.clear();
    await expect.poll(() => main().locator(".banner").count(), { timeout: 20_000 }).toBe(0);
  });
  it("of the connection are shown, and it comes back by itself", async () => {
    await open("overview");
    await shows("Greeting line");
    world.failing.set("", 0);
    await tab.locator(".statusline").getByText("connection lost").waitFor({ timeout: 20_000 });
    await shows("Greeting line");
    await tab.screenshot({ path: join(artefacts, "connection-lost.png") });
    world.failing.clear();
    await tab.locator(".statusline").getByText("connection lost").waitFor({ state: "detached", timeout: 20_000 });
  });
  it("of an engine that answers and stands still are told apart from a live one", async () => {
    world.pulse = [];
    const line = tab.locator(".statusline");
    await open("live");
    await line.getByText("live", { exact: true }).waitFor();
    await line.getByText("no news for 10 s").waitFor({ timeout: 20_000 });
    expect(await line.getByText("live", { exact: true }).count()).toBe(0);
    await tab.screenshot({ path: join(artefacts, "standing-still.png") });
    world.epoch += 1000;
    await line.getByText("live", { exact: true }).waitFor();
  });
  it("of the settings keep the console from starting", async () => {
    world.settings = { health_poll_ms: 0 };
    await tab.goto(url);
    await tab.getByRole("alert").getByText(/The console does not start/).waitFor();
  });
  it("of a subsystem are counted beside Health, on every page", async () => {
    const badge = tab.getByRole("link", { name: /^Health/ }).locator(".badge");
    for (const page of ["sessions", "live"] as const) {
      await open(page);
      await badge.getByText("2", { exact: true }).waitFor();
    }
    for (const part of world.health.subsystems) part.state = "ok";
    await badge.waitFor({ state: "detached", timeout: 20_000 });
  });
  it("of the schema are errors and never shown", async () => {
    world.health.overall_state = "splendid";
    await open("health");
    await shows(/The answer is not as agreed \(overall_state\), and is not shown/);
    expect(await main().getByText("splendid").count()).toBe(0);
  });
});

describe("roles", () => {
  it("of a viewer may look and not act", async () => {
    world.role = "viewer";
    await open("experiments");
    await shows("warm_welcome");
    await rail().getByText("Your role may look, not act.").waitFor();
    expect(await rail().getByRole("button").count()).toBe(0);
    for (const name of [/New experiment/, /Add arm/, /Delete/, /Edit greeting/]) expect(await main().getByRole("button", { name }).count()).toBe(0);
  });
  it("are asked for by a login where the engine wants one", async () => {
    world.failing.set("", 401);
    await tab.goto(url);
    await tab.getByLabel("Token").fill("wrong");
    await tab.getByRole("button", { name: "Sign in" }).click();
    await tab.getByText("This token is not known.").waitFor();
    expect(await violations(tab)).toEqual([]);
    await tab.screenshot({ path: join(artefacts, "login.png") });
    world.role = "operator";
    await tab.getByLabel("Token").fill("right");
    await tab.getByRole("button", { name: "Sign in" }).click();
    await tab.getByText("signed in as operator").waitFor();
    await tab.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    world.failing.set("", 401);
    await tab.getByText(/Your sign-in has ended: it lasts 12 hours/).waitFor({ timeout: 20_000 });
  });
});
