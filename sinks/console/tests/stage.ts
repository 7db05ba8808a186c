// What every browser test of a page stands on: one browser for a file, and for each test a new tab and a made-up engine.
import type { Server } from "node:http";
import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { launch } from "./browser";
import { serve } from "./serve";
import { SESSION, type World, makeWorld } from "./world";

export const pages = ["overview", "live", "experiments", "physiology", "health", "sessions"] as const;

/** Where the console is served. */
export let url: string;
/** The engine; a test changes it as it likes. */
export let world: World;
export let tab: Page;

let browser: Browser;
let server: Server;
let faults: string[];

/** What is polled for so often, ms. */
export const polled = (ms: number) => Object.fromEntries(["overview", "session_header", "live_encounters", "experiments", "physiology", "comodulation", "health", "sessions", "alerts"].map((name) => [`${name}_poll_ms`, ms]));

beforeAll(async () => {
  browser = await launch();
  ({ server, url } = await serve(() => world));
});
afterAll(async () => {
  await browser?.close();
  server?.close();
});
beforeEach(async () => {
  world = makeWorld();
  // Nobody waits for the defaults: what changes is to be seen soon, however busy the machine is.
  world.settings = { ...polled(500), api_timeout_seconds: 30 };
  faults = [];
  tab = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: "dark" });
  tab.on("pageerror", (error) => faults.push(String(error)));
});
afterEach(async () => {
  await tab.close();
  expect(faults).toEqual([]);
});

export const open = async (page: (typeof pages)[number], session = SESSION) => {
  await tab.goto(`${url}#/${page}/${session}`);
  await tab.locator("h1").waitFor();
};
export const main = () => tab.locator("main");
export const rail = () => tab.locator("section.rail");
export const pill = () => rail().locator(".state .pill");
export const shows = (text: string | RegExp, scope = main()) => scope.getByText(text).first().waitFor({ timeout: 20_000 });
