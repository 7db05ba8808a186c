// Experiments, their arms and the history of their posteriors.
import { describe, expect, it } from "vitest";
import { main, open, shows, tab, world } from "../stage";

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
    await box.fill(" What are you working on today? ");
    await box.press("Enter");
    await box.waitFor({ state: "detached" });
    expect(world.sent.length, "unchanged is not sent").toBe(1);
    await main().getByRole("button", { name: /^Edit greeting: What are you/ }).click();
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
  it("take another arm by keyboard alone", async () => {
    await open("experiments");
    await shows("warm_welcome");
    await main().getByRole("button", { name: "Add arm" }).focus();
    await tab.keyboard.press("Enter");
    await tab.getByRole("dialog").getByLabel("Arm").waitFor();
    for (const text of ["fifth", "Tab", "Good evening"]) await (text === "Tab" ? tab.keyboard.press("Tab") : tab.keyboard.type(text));
    await tab.keyboard.press("Enter");
    await expect.poll(() => world.sent.at(-1)).toEqual({ method: "POST", path: "experiments/greeting_line_v1/arms", body: { arm: "fifth", greeting_text: "Good evening" } });
    await shows("Arm fifth was added.");
  });
  it("warn of an active arm that is not among theirs", async () => {
    world.experiment.active_arm_id = "gone";
    await open("experiments");
    await shows("The active arm is not in this list.");
    expect(await main().locator(".card.warn").count()).toBe(1);
  });
  it("go back through the history of their posteriors", async () => {
    await open("experiments");
    await main().getByRole("slider").fill("0");
    await main().getByText("0.500").first().waitFor();
    await main().getByRole("slider").fill("10");
    await shows(/Z · /);
  });
});
