// Health: subsystems, probes, sources.
import { describe, expect, it } from "vitest";
import { main, open, shows, world } from "../stage";
import { SESSION } from "../world";

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
