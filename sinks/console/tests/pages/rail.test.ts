// The action rail, from a greeting sent to its reward.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { artefacts } from "../browser";
import { open, pill, rail, tab, world } from "../stage";
import { ENDED, SESSION } from "../world";

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
