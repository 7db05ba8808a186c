// Every page and every state of the console in a real browser, on a made-up engine that shows the rare ones, too.
import { join } from "node:path";
import type { Server } from "node:http";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { artefacts, launch } from "./browser";
import { serve } from "./serve";
import { ENDED, SESSION, type World, makeWorld } from "./world";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
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
beforeEach(async () => {
  world = makeWorld();
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
const shows = (text: string | RegExp, scope = main()) => scope.getByText(text).first().waitFor({ timeout: 8000 });

/** Violations that axe calls serious or worse. */
async function violations(): Promise<string[]> {
  await tab.evaluate(axe);
  const found = await tab.evaluate(async () => {
    const run = (window as unknown as { axe: { run: (o: object) => Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> } }).axe.run;
    return (await run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] })).violations;
  });
  return found.filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")}`);
}

describe("every page", () => {
  for (const theme of ["dark", "light"] as const) {
    for (const page of pages) {
      it(`${page} is complete and accessible, ${theme}`, async () => {
        await tab.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
        await open(page);
        await tab.waitForTimeout(700);
        await tab.screenshot({ path: join(artefacts, `${page}-${theme}.png`) });
        expect(await violations()).toEqual([]);
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

describe("the overview", () => {
  it("opens the active session by its card", async () => {
    await open("overview", ENDED);
    await main().getByRole("button", { name: /Open Live Session/ }).click();
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor();
    expect(tab.url()).toContain(SESSION);
  });
  it("says what will appear when there is nothing", async () => {
    world.session.status = "ended";
    world.alerts = [];
    await open("overview");
    await shows("Nothing runs. A session appears here when it starts.");
    await shows(/No alert in the last hour/);
  });
});

describe("a live session", () => {
  it("explains each way a greeting can end", async () => {
    await open("live");
    await shows("It is judged now whether the greeting was said", main());
    await main().getByRole("row", { name: /#2/ }).click();
    await shows(/not heard \(p_match 6 %\), so the gate is closed: a smile of P90 0.585 was not admitted/);
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
    await main().getByText(/The end of session/).waitFor({ state: "detached", timeout: 8000 });
  });
  it("shows all it can of texts that are very long", async () => {
    const long = "Supercalifragilistic".repeat(30);
    world.session.expected_greeting = long;
    world.session.active_arm = long;
    await open("live");
    await shows(/…/);
    const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    expect(wide).toBeLessThanOrEqual(0);
    await tab.screenshot({ path: join(artefacts, "long-text.png") });
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
    const at = new Date(Date.now() + 1000).toISOString();
    world.epoch = Date.now();
    world.encounters = [{ ...first, encounter_id: "new", state: "stimulus_issued", stimulus_time_utc: at, segment_timestamp_utc: new Date(Date.now() + 9000).toISOString(), gated_reward: null as never, semantic_gate: null as never }, ...world.encounters];
    await pill().getByText("measuring").waitFor({ timeout: 8000 });
    await rail().getByText(/measuring \d s/).waitFor({ timeout: 8000 });
    await tab.screenshot({ path: join(artefacts, "rail-measuring.png") });
    await rail().getByText(/judging \d s/).waitFor({ timeout: 12000 });
    Object.assign(world.encounters[0]!, { state: "completed", semantic_gate: 1, gated_reward: 0.402, p90_intensity: 0.402 });
    await pill().getByText("completed").waitFor({ timeout: 8000 });
    await rail().getByText("Reward 0.402").waitFor();
    expect(world.sent).toHaveLength(1);
  });
  it("retries what may be lost under the same id, and what was refused under a new one", async () => {
    await open("live");
    world.stimulus = "lost";
    await button().click();
    await pill().getByText("failed").waitFor();
    await rail().getByText(/It is not known whether it arrived/).waitFor();
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
    await expect.poll(() => state("streamer"), { timeout: 9000 }).toBe("no-rmssd");
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
    for (const state of ["not configured", "timed out", "unknown"]) await main().locator(".probes .pill").getByText(state).first().waitFor();
    await shows("holds the frontier");
    const looks = await Promise.all(["degraded", "recovering", "error"].map((s) => main().locator("td .pill").getByText(s, { exact: true }).first().evaluate((e) => getComputedStyle(e.closest(".pill")!).color + getComputedStyle(e.closest(".pill")!).borderStyle)));
    expect(new Set(looks).size).toBe(3);
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
    await expect.poll(() => main().locator(".banner").count(), { timeout: 9000 }).toBe(0);
  });
  it("of the connection are shown, and it comes back by itself", async () => {
    await open("overview");
    await shows("Greeting line");
    world.failing.set("", 0);
    await tab.locator(".statusline").getByText("connection lost").waitFor({ timeout: 9000 });
    await shows("Greeting line");
    await tab.screenshot({ path: join(artefacts, "connection-lost.png") });
    world.failing.clear();
    await tab.locator(".statusline").getByText("connection lost").waitFor({ state: "detached", timeout: 12000 });
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
    expect(await violations()).toEqual([]);
    await tab.screenshot({ path: join(artefacts, "login.png") });
    world.role = "operator";
    await tab.getByLabel("Token").fill("right");
    await tab.getByRole("button", { name: "Sign in" }).click();
    await tab.getByText("signed in as operator").waitFor();
    await tab.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
  });
});
