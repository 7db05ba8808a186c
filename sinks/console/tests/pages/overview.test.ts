// The overview.
import { describe, expect, it } from "vitest";
import { main, open, shows, tab, world } from "../stage";
import { ENDED, SESSION } from "../world";

describe("the overview", () => {
  it("opens the active session by its card", async () => {
    await open("overview", ENDED);
    await main().getByRole("button", { name: /Open Live Session/ }).click();
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor();
    expect(tab.url()).toContain(SESSION);
  });
  it("calls the newest greeting silent when nothing was heard, and physiology stale as soon as one of two is", async () => {
    world.encounters[1] = { ...world.encounters[0]! };
    world.heardTo = 96;
    Object.assign(world.physiology.operator!, { rmssd_ms: null });
    await open("overview");
    const card = (name: string) => main().locator(".card").filter({ has: tab.getByRole("heading", { name, exact: true }) }).locator(".pill");
    await card("Latest encounter").getByText("nothing heard").waitFor({ timeout: 20_000 });
    expect(await card("Physiology").textContent()).toBe("stale");
  });
  it("lists the newest eight alerts", async () => {
    world.alerts = Array.from({ length: 12 }, (_, i) => ({ ...world.alerts[0]!, alert_id: `n${i}`, message: `message ${i}`, emitted_at_utc: new Date(Date.parse("2026-01-05T10:00:00Z") + i * 1000).toISOString() }));
    await open("overview");
    await shows("message 11");
    expect(await main().locator("tbody tr").count()).toBe(8);
    expect(await main().getByText("message 3", { exact: true }).count()).toBe(0);
  });
});
