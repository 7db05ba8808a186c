// What fails: a surface, the connection, the engine, a subsystem, an answer.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { artefacts } from "../browser";
import { main, open, shows, tab, url, world } from "../stage";

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
