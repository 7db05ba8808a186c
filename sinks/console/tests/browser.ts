// Debian's Chromium, driven without a browser of its own; and where pictures go.
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Browser, chromium } from "playwright-core";

/** Where screenshots of a run are kept. */
export const artefacts = process.env.LSIE_ARTEFACTS ?? join(fileURLToPath(new URL(".", import.meta.url)), "../artefacts");
mkdirSync(artefacts, { recursive: true });

export async function launch(): Promise<Browser> {
  const path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((candidate) => existsSync(candidate));
  if (path === undefined) throw new Error("no Chromium: docker/setup/packages.sh test installs it");
  return chromium.launch({ executablePath: path, args: ["--no-sandbox", "--disable-gpu"] });
}
