// Every page, while its surfaces have nothing, load, fail, keep what they had, and hold very long texts.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { artefacts, violations } from "../browser";
import { main, open, pages, shows, tab, url, world } from "../stage";
import type { World } from "../world";

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
