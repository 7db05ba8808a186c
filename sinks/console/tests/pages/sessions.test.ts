// The list of sessions.
import { describe, expect, it } from "vitest";
import { main, open, tab } from "../stage";
import { ENDED, SESSION } from "../world";

describe("sessions", () => {
  it("are selected by a click and opened by Enter", async () => {
    await open("sessions", ENDED);
    await main().getByRole("row", { name: /b8267505/ }).click();
    await expect.poll(() => tab.url()).toContain(SESSION);
    await main().getByRole("row", { name: /b8267505/ }).press("Enter");
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor();
    await tab.getByRole("link", { name: "Sessions" }).click();
    await main().getByRole("row", { name: /0c9d2f6e/ }).dblclick();
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor();
    expect(tab.url()).toContain(ENDED);
  });
});
