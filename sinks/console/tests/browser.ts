// Debian's Chromium, driven without a browser of its own; where pictures go; and what axe finds on a page.
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, type Page, chromium } from "playwright-core";

/** Where screenshots of a run are kept. */
export const artefacts = process.env.LSIE_ARTEFACTS ?? join(fileURLToPath(new URL(".", import.meta.url)), "../artefacts");
mkdirSync(artefacts, { recursive: true });

export async function launch(): Promise<Browser> {
  const path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error("no Chromium: docker/setup/packages.sh test installs it");
  return chromium.launch({ executablePath: path, args: ["--no-sandbox", "--disable-gpu"] });
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** Violations that axe calls serious or worse. */
export async function violations(tab: Page): Promise<string[]> {
  await tab.evaluate(axe);
  const found = await tab.evaluate(async () => {
    const run = (window as unknown as { axe: { run: (o: object) => Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> } }).axe.run;
    return (await run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"] })).violations;
  });
  return found.filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 160)).join(" | ")}`);
}
