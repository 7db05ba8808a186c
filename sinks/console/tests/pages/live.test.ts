// A live session: its greetings, its calibration, its beginning and its end.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { artefacts } from "../browser";
import { main, open, rail, shows, tab, world } from "../stage";

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
