// Every page in both themes: complete, accessible, no wider than a tablet, and reached by keyboard.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { artefacts, violations } from "../browser";
import { main, open, pages, tab } from "../stage";
import { SESSION } from "../world";

describe("every page", () => {
  for (const theme of ["dark", "light"] as const) {
    for (const page of pages) {
      it(`${page} is complete and accessible, ${theme}`, async () => {
        await tab.emulateMedia({ colorScheme: theme, reducedMotion: "reduce" });
        await open(page);
        await tab.waitForTimeout(700);
        await tab.screenshot({ path: join(artefacts, `${page}-${theme}.png`) });
        expect(await violations(tab)).toEqual([]);
        expect(await main().locator(".banner").count()).toBe(0);
        await tab.setViewportSize({ width: 834, height: 1112 });
        await tab.waitForTimeout(200);
        await tab.screenshot({ path: join(artefacts, `${page}-${theme}-tablet.png`) });
        const wide = await tab.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        expect(wide, "nothing is wider than a tablet").toBeLessThanOrEqual(0);
      });
    }
  }

  it("draws the smile at once: the windows around greetings are shaded", async () => {
    await open("live");
    const canvas = main().locator(".trace canvas").first();
    await canvas.waitFor();
    // Without a time axis there would be four thin lines and nothing else.
    const painted = () =>
      canvas.evaluate((element: HTMLCanvasElement) => {
        const { data } = element.getContext("2d")!.getImageData(0, 0, element.width, element.height);
        let opaque = 0;
        for (let at = 3; at < data.length; at += 4) if (data[at]! > 0) opaque += 1;
        return opaque / (data.length / 4);
      });
    await expect.poll(painted, { timeout: 3000 }).toBeGreaterThan(0.12);
  });

  it("is reached by keyboard, and the selected session is kept", async () => {
    await open("overview");
    await tab.keyboard.press("Tab");
    await tab.keyboard.press("Tab");
    expect(await tab.evaluate(() => document.activeElement?.textContent)).toBe("Overview");
    await tab.keyboard.press("Tab");
    await tab.keyboard.press("Enter");
    await tab.getByRole("heading", { level: 1, name: "Live Session" }).waitFor();
    expect(tab.url()).toContain(SESSION);
  });
});
