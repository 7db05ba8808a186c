// Physiology and co-modulation.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { artefacts } from "../browser";
import { main, open, shows, tab, world } from "../stage";

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
