// How often each surface is asked for.
import { describe, expect, it } from "vitest";
import { open, pill, polled, shows, tab, world } from "../stage";
import { SESSION } from "../world";

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
