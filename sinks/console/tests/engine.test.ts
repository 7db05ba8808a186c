// The console on a running engine: a made session comes in live, a greeting is sent from the page and its reward read
// there; the connection is lost and comes back; roles decide what is offered. Needs the binary lsie and its models.
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { artefacts, launch, violations } from "./browser";
import { type Engine, bare, checkMetrics, folder, lsie, serve, start } from "./engine";

/** For what the engine has to do first, on a machine that may be busy. */
const within = { timeout: 100_000 };

let browser: Browser;
beforeAll(async () => void (browser = await launch()));
afterAll(async () => browser?.close());

let tab: Page;
const faults: string[] = [];
async function look(url: string): Promise<void> {
  tab = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "dark" });
  tab.on("pageerror", (error) => faults.push(String(error)));
  tab.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy/.test(message.text())) faults.push(message.text());
  });
  await tab.goto(url);
}
const main = () => tab.locator("main");
const rail = () => tab.locator("section.rail");
const live = () => tab.locator(".statusline .pill").getByText("live", { exact: true });
const lost = () => tab.locator(".statusline .pill").getByText("connection lost");

describe("the console on a live session", () => {
  const dir = folder();
  let engine: Engine;
  beforeAll(async () => {
    engine = await start(dir.path, "demo", "--speed", "1", "--port", "0", "--out", join(dir.path, "demo"));
    await look(engine.url);
  });
  afterAll(async () => {
    await tab?.close();
    await engine?.kill();
    dir.remove();
  });

  /** How far the session is, s of log time since its start. */
  async function elapsed(): Promise<number> {
    const answer = await fetch(new URL("api/v1/operator/sessions", engine.url));
    const [session] = (await answer.json()) as { started_at_utc: string }[];
    return session === undefined ? -1 : (Number(answer.headers.get("x-lsie-epoch")) - Date.parse(session.started_at_utc)) / 1000;
  }

  /**
   * Sends a greeting by keyboard a moment before the made session's own at 10 s, or at 75 s where that is past: there the
   * words are said and smiled at. The session's own is then refused, for a measurement window is open.
   */
  async function greet(): Promise<void> {
    for (const own of [10, 75]) {
      if ((await elapsed()) > own - 1) continue;
      await expect.poll(elapsed, { ...within, interval: 50 }).toBeGreaterThan(own - 1.4);
      await tab.keyboard.press("Control+Enter");
      await rail().locator(".pill").getByText(/accepted|measuring|failed/).waitFor(within);
      if ((await rail().locator(".pill").textContent())?.includes("failed") !== true) return;
    }
    throw new Error(`no greeting was accepted: ${await rail().textContent()}`);
  }

  it("shows it as it comes, and the first picture soon", within, async () => {
    await live().waitFor(within);
    const paint = await tab.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    console.log(`first contentful paint after ${Math.round(paint ?? Number.NaN)} ms`);
    await main().getByRole("button", { name: /Open Live Session/ }).click(within);
    await main().getByText("Calibration: ready").waitFor(within);
    await main().getByText(/Expected greeting: thank you for the wonderful stream/).waitFor(within);
  });

  it("measures a greeting that is sent from the page", within, async () => {
    await greet();
    await rail().locator(".pill").getByText("measuring").waitFor(within);
    await rail().getByText(/(measuring|judging) \d+ s/).waitFor(within);
    await main().locator(".trace canvas").first().waitFor(within);
    await tab.screenshot({ path: join(artefacts, "engine-measuring.png") });
  });

  it("takes a greeting that is refused for an alert, and for no fault of the ingest", within, async () => {
    const read = async <T>(path: string) => (await (await fetch(new URL(`api/v1/operator/${path}`, engine.url))).json()) as T;
    const kinds = async () => (await read<{ kind: string }[]>("alerts")).map((alert) => alert.kind);
    await expect.poll(kinds, within).toContain("stimulus_failed");
    const { subsystems } = await read<{ subsystems: { subsystem_key: string; state: string }[] }>("health");
    expect(["ok", "unknown"]).toContain(subsystems.find((s) => s.subsystem_key === "ingest")?.state);
  });

  it("keeps what it shows while the connection is away, and goes on when it is back", within, async () => {
    const shown = await main().getByRole("row", { name: /#1/ }).textContent();
    await tab.context().setOffline(true);
    await main().getByText(/Shown is the last that came/).first().waitFor(within);
    expect(await main().getByRole("row", { name: /#1/ }).textContent()).toContain(shown!.slice(0, 12));
    const frames = await main().getByText(/frames from/).textContent();
    await tab.context().setOffline(false);
    await live().waitFor(within);
    await expect.poll(() => main().locator(".banner").count(), within).toBe(0);
    await expect.poll(() => main().getByText(/frames from/).textContent(), within).not.toBe(frames);
  });

  it("says the reward, and why it is what it is", within, async () => {
    await rail().locator(".pill").getByText("completed").waitFor(within);
    const said = await rail().locator(".state strong").textContent();
    expect(said).toMatch(/^Reward 0\.[1-9]\d\d$/);
    const reward = said!.replace("Reward ", "");
    await main().getByRole("row", { name: /#1/ }).click();
    await main().getByText(`P90 ${reward} × 1 = reward ${reward}`).waitFor(within);
    await tab.screenshot({ path: join(artefacts, "engine-live-dark.png") });
    await tab.emulateMedia({ colorScheme: "light" });
    await tab.screenshot({ path: join(artefacts, "engine-live-light.png") });
    await tab.emulateMedia({ colorScheme: "dark" });
    expect(faults).toEqual([]);
  });

  it("runs on an engine whose metrics add up, and are as Prometheus wants them", within, async () => {
    const answer = await fetch(new URL("metrics", engine.url));
    expect(answer.headers.get("content-type")).toContain("version=0.0.4");
    const text = await answer.text();
    expect(checkMetrics(text)).toBe("");
    const sum = (name: string) => [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce((total, match) => total + Number(match[1]), 0);
    const [read, classified] = [sum("lsie_records_read_total"), sum("lsie_records_classified_total")];
    expect(read).toBeGreaterThan(500);
    // What is not classified yet waits for its segment or its model.
    expect(classified).toBeGreaterThan(read / 2);
    expect(classified).toBeLessThanOrEqual(read);
    expect(sum("lsie_epoch_completion_seconds_count")).toBeGreaterThan(50);
    expect(sum("lsie_segments_closed_total")).toBeGreaterThan(0);
    expect(sum("lsie_inference_seconds_count")).toBeGreaterThan(50);
    expect(sum("lsie_operator_busy_seconds_total")).toBeGreaterThan(0);
    expect(text).toMatch(/^lsie_dead_letters_total\{reason="[a-z_]+",topic="control"\} 1$/m);
  });

  for (const name of ["Overview", "Experiments", "Physiology", "Health", "Sessions"]) {
    it(`shows ${name} without an error`, within, async () => {
      await tab.getByRole("link", { name: new RegExp(`^${name}`) }).click();
      await tab.getByRole("heading", { level: 1, name }).waitFor();
      await expect.poll(() => main().getByText("Loading…").count(), within).toBe(0);
      await tab.waitForTimeout(300);
      await tab.screenshot({ path: join(artefacts, `engine-${name.toLowerCase()}-dark.png`) });
      expect(await main().locator(".banner").allTextContents()).toEqual([]);
      expect(faults).toEqual([]);
    });
  }
});

describe("the console of an engine that knows its people", () => {
  const dir = folder();
  const tokens = new Map<string, string>();
  let engine: Engine;
  const run = (port: string) => start(dir.path, "run", "--port", port);
  beforeAll(async () => {
    // Tokens, and a log that outlives the engine.
    appendFileSync(join(dir.path, "lsie.toml"), `[log]\naddress = "file:log"\n`);
    for (const role of ["viewer", "operator"]) {
      const printed = lsie(dir.path, "token", "--name", `a-${role}`, "--role", role);
      tokens.set(role, /lsie_[0-9a-f]+/.exec(printed)![0]);
      appendFileSync(join(dir.path, "lsie.toml"), printed.slice(printed.indexOf("[[")).replaceAll(/^ +/gm, ""));
    }
    lsie(dir.path, "topics", "create");
    engine = await run("0");
  });
  afterAll(async () => {
    await tab?.close();
    await engine?.kill();
    dir.remove();
  });

  async function logIn(role: string): Promise<void> {
    await tab.getByLabel("Token").fill(tokens.get(role)!);
    await tab.getByRole("button", { name: /log in|sign in/i }).click();
    await tab.getByText(`signed in as ${role}`).waitFor(within);
  }
  const session = () => main().getByRole("row", { name: /active|ended/ });

  it("lets in who holds a token; a viewer looks, and may not act", within, async () => {
    await look(engine.url);
    await logIn("viewer");
    await rail().getByText("Your role may look, not act.").waitFor();
    await tab.getByRole("link", { name: "Live Session" }).click();
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor();
    expect(await main().getByRole("button", { name: /Start session|End session/ }).count()).toBe(0);
    // What the page does not offer, the engine does not do.
    const forced = await tab.evaluate(async () => {
      const body = JSON.stringify({ stream_url: "x", experiment_id: "greeting_line_v1", client_action_id: crypto.randomUUID() });
      return (await fetch("api/v1/sessions", { method: "POST", headers: { "content-type": "application/json" }, body })).status;
    });
    expect(forced).toBe(403);
    expect((await fetch(new URL("metrics", engine.url))).status).toBe(401);
    expect((await fetch(new URL("metrics", engine.url), { headers: { authorization: `Bearer ${tokens.get("viewer")}` } })).status).toBe(200);
    await tab.getByRole("button", { name: "Sign out" }).click();
    await tab.getByLabel("Token").waitFor(within);
  });

  it("lets an operator start a session, by keyboard", within, async () => {
    await tab.goto(engine.url);
    await logIn("operator");
    await tab.getByRole("link", { name: "Sessions" }).click();
    await main().getByRole("button", { name: "Start session" }).press("Enter");
    await tab.getByLabel("Stream URL").fill("rtmp://127.0.0.1/live/console-test");
    await tab.keyboard.press("Enter");
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor(within);
    await main().getByText("active", { exact: true }).first().waitFor(within);
  });

  it("waits for an engine that died, and finds everything again", within, async () => {
    await live().waitFor(within);
    await engine.kill();
    await lost().waitFor(within);
    expect(await main().getByText("active", { exact: true }).count()).toBeGreaterThan(0);
    await tab.screenshot({ path: join(artefacts, "engine-lost.png") });
    engine = await run(new URL(engine.url).port);
    // Log-ins are not kept over a restart: nobody is let in who cannot show the token again.
    await tab.getByText(/Your sign-in has ended/).waitFor(within);
    await logIn("operator");
    await live().waitFor(within);
    await tab.getByRole("link", { name: "Sessions" }).click();
    await session().first().waitFor(within);
  });

  it("ends it, after the end was read back", within, async () => {
    await session().first().press("Enter");
    await main().getByRole("button", { name: "End session" }).click(within);
    await tab.getByRole("dialog").getByRole("button", { name: "End session" }).click();
    await main().locator("header .pill").getByText("ended", { exact: true }).waitFor(within);
    await rail().getByText("The selected session has ended.").waitFor();
    expect(faults).toEqual([]);
  });
});

describe("a build without Node", () => {
  const dir = folder();
  let engine: Engine;
  beforeAll(async () => void (engine = await serve(bare, dir.path)));
  afterAll(async () => {
    await tab?.close();
    await engine?.kill();
    dir.remove();
  });

  it("says in the console's place how to get it, and serves the API", within, async () => {
    await look(engine.url);
    await tab.getByText("The operator console is not in this build.").waitFor();
    await tab.getByText("make console build").waitFor();
    for (const colorScheme of ["dark", "light"] as const) {
      await tab.emulateMedia({ colorScheme });
      await tab.screenshot({ path: join(artefacts, `without-node-${colorScheme}.png`) });
      expect(await violations(tab)).toEqual([]);
    }
    await tab.setViewportSize({ width: 834, height: 900 });
    expect(await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBeLessThanOrEqual(0);
    const opened = tab.waitForResponse((answer) => answer.url().endsWith("/api/v1/sessions"));
    await tab.getByRole("link", { name: "/api/v1/sessions" }).click();
    const answer = await opened;
    expect([answer.status(), answer.headers()["x-lsie-epoch"], await answer.json()]).toEqual([200, "1000", []]);
    expect(faults).toEqual([]);
  });
});
