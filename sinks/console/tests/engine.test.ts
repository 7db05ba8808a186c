// The console on a running engine: a made session comes in live, a greeting is sent from the page, and its reward is
// read there. Needs the binary lsie (LSIE_BIN, or the workspace's release build) and its models.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { artefacts, launch } from "./browser";

const here = fileURLToPath(new URL(".", import.meta.url));
const binary = process.env.LSIE_BIN ?? join(here, "../../../target/release/lsie");
/** A live session of 96 s, on a machine that may be busy. */
const PATIENCE = 300_000;

let browser: Browser;
let tab: Page;
let engine: ChildProcess;
let out: string;
const said: string[] = [];
const faults: string[] = [];

/** Starts a live session in an embedded log; resolves with the console's address. */
function start(): Promise<string> {
  if (!existsSync(binary)) throw new Error(`${binary} is missing: cargo build --release --workspace`);
  out = mkdtempSync(join(tmpdir(), "lsie-console-"));
  engine = spawn(binary, ["demo", "--speed", "1", "--port", "0", "--out", join(out, "demo")], { cwd: out, stdio: ["ignore", "pipe", "pipe"] });
  return new Promise((resolve, reject) => {
    const read = (chunk: Buffer) => {
      said.push(chunk.toString());
      const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(said.join(""))?.[0];
      if (url !== undefined) resolve(url);
    };
    engine.stdout!.on("data", read);
    engine.stderr!.on("data", read);
    engine.on("exit", (code) => reject(new Error(`the engine ended with ${code}: ${said.join("")}`)));
  });
}

beforeAll(async () => {
  browser = await launch();
  const url = await start();
  tab = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "dark" });
  tab.on("pageerror", (error) => faults.push(String(error)));
  tab.on("console", (message) => {
    if (message.type() === "error" && /Content Security Policy/.test(message.text())) faults.push(message.text());
  });
  await tab.goto(url);
});
afterAll(async () => {
  await browser?.close();
  engine?.removeAllListeners("exit");
  engine?.kill("SIGKILL");
  if (out !== undefined) rmSync(out, { recursive: true, force: true });
});

const main = () => tab.locator("main");
const rail = () => tab.locator("section.rail");
/** Sends a greeting; again, where one of the made session's own was still being measured. */
async function send(): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    const button = rail().getByRole("button");
    await expect.poll(() => button.isEnabled(), within).toBe(true);
    await button.click();
    const pill = rail().locator(".pill").getByText(/accepted|measuring|completed|failed/);
    await pill.waitFor(within);
    if ((await pill.textContent()) !== "failed") return;
    expect(attempt, await rail().textContent() ?? "").toBeLessThan(4);
    await tab.waitForTimeout(6000);
  }
}

const within = { timeout: PATIENCE };

describe("the console on a live engine", () => {
  it("shows the session as it comes, measures a greeting sent from the page, and explains the rewards", { timeout: PATIENCE + 60_000 }, async () => {
    await tab.locator(".statusline .pill").getByText("live", { exact: true }).waitFor(within);
    const paint = await tab.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
    console.log(`first contentful paint after ${Math.round(paint ?? Number.NaN)} ms`);
    await main().getByRole("button", { name: /Open Live Session/ }).click(within);
    await main().getByText("Calibration: ready").waitFor(within);

    // The made session's own greeting at 10 s has been measured: now one from the page.
    await main().getByRole("row", { name: /#1/ }).waitFor(within);
    await main().locator(".trace canvas").first().waitFor(within);
    await tab.waitForTimeout(8000);
    await send();
    await rail().locator(".pill").getByText(/measuring|completed/).waitFor(within);
    await tab.screenshot({ path: join(artefacts, "engine-measuring.png") });
    await rail().locator(".pill").getByText("completed").waitFor(within);
    await rail().locator(".state strong").getByText(/reward/i).waitFor(within);

    await main().getByRole("row", { name: /#1/ }).click();
    // Which arm is drawn depends on when the session began, so the gate may be open or closed; the smile is the same.
    await main().getByText(/P90 0\.9\d\d (× 1 = reward 0\.9\d\d|was not admitted)/).first().waitFor(within);
    await tab.screenshot({ path: join(artefacts, "engine-live-dark.png") });
    expect(faults).toEqual([]);
  });

  for (const name of ["Overview", "Experiments", "Physiology", "Health", "Sessions"]) {
    it(`shows ${name} without an error`, { timeout: 60_000 }, async () => {
      await tab.getByRole("link", { name: new RegExp(`^${name}`) }).click();
      await tab.getByRole("heading", { level: 1, name }).waitFor();
      await expect.poll(() => main().getByText("Loading…").count(), { timeout: 30_000 }).toBe(0);
      await tab.waitForTimeout(500);
      await tab.screenshot({ path: join(artefacts, `engine-${name.toLowerCase()}-dark.png`) });
      expect(await main().locator(".banner").allTextContents()).toEqual([]);
      expect(faults).toEqual([]);
    });
  }

  it("ends a session that was started on the page, after it was read back", { timeout: PATIENCE }, async () => {
    await main().getByRole("button", { name: "Start session" }).click();
    await tab.getByLabel("Stream URL").fill("rtmp://127.0.0.1/live/console-test");
    await tab.getByRole("dialog").getByRole("button", { name: "Start" }).click();
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor(within);
    await main().getByText("active", { exact: true }).first().waitFor(within);
    await main().getByRole("button", { name: "End session" }).click(within);
    await tab.getByRole("dialog").getByRole("button", { name: "End session" }).click();
    await main().locator("header .pill").getByText("ended", { exact: true }).waitFor(within);
    await rail().getByText("The selected session has ended.").waitFor();
  });
});
