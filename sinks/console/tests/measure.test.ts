// Figures for docs/BENCHMARKS.md, printed, not judged: first paint on a running engine, weight of the bundle, frames a
// second while half an hour of the smile scrolls, and memory while live updates come for SOAK_MINUTES (default 1).
import type { Server } from "node:http";
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, it } from "vitest";
import { launch } from "./browser";
import { folder, start } from "./engine";
import { serve } from "./serve";
import { SESSION, type World, makeWorld } from "./world";

const MINUTES = Number(process.env.SOAK_MINUTES ?? "1");
const HALF_HOUR_S = 1800;
const dist = join(fileURLToPath(new URL(".", import.meta.url)), "../dist");

let browser: Browser;
beforeAll(async () => void (browser = await launch()));
afterAll(async () => browser?.close());

const median = (list: number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!;
const viewport = { width: 1280, height: 800 };

describe("the console", () => {
  it("weighs", () => {
    const names = readdirSync(dist).filter((name) => /\.(html|js|css|svg|woff2)$/.test(name));
    const bytes = names.map((name) => readFileSync(join(dist, name))).map((file, i) => (names[i]!.endsWith(".woff2") ? file.length : gzipSync(file, { level: 9 }).length));
    console.log(`bundle: ${(bytes.reduce((a, b) => a + b) / 1024).toFixed(1)} KiB compressed, ${names.length} files`);
  });

  it("paints on a running engine with a cold cache", { timeout: 180_000 }, async () => {
    const dir = folder();
    const engine = await start(dir.path, "demo", "--port", "0", "--out", join(dir.path, "demo"));
    try {
      // Measured is the page, not an engine that still works off the recording.
      const ready = async () => (await fetch(new URL("api/v1/encounters", engine.url)).then((r) => r.json()) as unknown[]).length === 3;
      while (!(await ready().catch(() => false))) await new Promise((resolve) => setTimeout(resolve, 500));
      await new Promise((resolve) => setTimeout(resolve, 3000));
      const [paints, filled]: [number[], number[]] = [[], []];
      for (let round = 0; round < 7; round += 1) {
        const context = await browser.newContext({ viewport });
        const tab = await context.newPage();
        await tab.goto(engine.url);
        await tab.locator("main .card .value").first().waitFor();
        filled.push(await tab.evaluate(() => performance.now()));
        paints.push(await tab.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]!.startTime));
        await context.close();
      }
      console.log(`first contentful paint of the overview: median ${median(paints).toFixed(0)} ms, worst ${Math.max(...paints).toFixed(0)} ms; with data by ${median(filled).toFixed(0)} ms, worst ${Math.max(...filled).toFixed(0)} ms; ${paints.length} cold loads`);
    } finally {
      await engine.kill();
      dir.remove();
    }
  });
});

describe("the console on a made-up engine", () => {
  let world: World;
  let server: Server;
  let url: string;
  beforeAll(async () => void ({ server, url } = await serve(() => world)));
  afterAll(() => {
    server?.closeAllConnections();
    server?.close();
  });

  async function open(seconds: number): Promise<Page> {
    world = makeWorld();
    grow(seconds - world.traceS);
    world.pulse = ["au12"];
    const tab = await browser.newPage({ viewport });
    await tab.goto(`${url}#/live/${SESSION}`);
    await tab.locator(".trace canvas").first().waitFor({ timeout: 30_000 });
    return tab;
  }
  function grow(seconds: number): void {
    world.traceS += seconds;
    world.epoch += seconds * 1000;
  }

  it("scrolls half an hour of the smile", { timeout: 120_000 }, async () => {
    const tab = await open(HALF_HOUR_S);
    for (const [name, zooms] of [["all 54,000 frames", 0], ["90 s at a time", 6]] as const) {
      await tab.getByRole("button", { name: "Whole session" }).click();
      for (let i = 0; i < zooms; i += 1) await tab.getByRole("button", { name: "Zoom in" }).click();
      const times = await tab.evaluate(
        () =>
          new Promise<number[]>((resolve) => {
            const over = document.querySelector(".trace .u-over")!;
            const stamps: number[] = [];
            const frame = (now: number) => {
              stamps.push(now);
              if (now - stamps[0]! > 6000) return resolve(stamps.slice(1).map((at, i) => at - stamps[i]!));
              over.dispatchEvent(new WheelEvent("wheel", { deltaX: Math.floor(stamps.length / 60) % 2 === 0 ? -12 : 12, bubbles: true, cancelable: true }));
              requestAnimationFrame(frame);
            };
            requestAnimationFrame(frame);
          }),
      );
      const total = times.reduce((a, b) => a + b);
      const sorted = [...times].sort((a, b) => a - b);
      console.log(`scrolling, ${name}: ${((1000 * times.length) / total).toFixed(1)} frames/s; frame p50 ${median(times).toFixed(1)} ms, p95 ${sorted[Math.floor(0.95 * sorted.length)]!.toFixed(1)} ms, worst ${sorted.at(-1)!.toFixed(1)} ms`);
    }
    await tab.close();
  });

  it("keeps its memory", { timeout: (MINUTES + 3) * 60_000 }, async () => {
    // As many frames as a page keeps: what grows from here on is a leak.
    const tab = await open(2 * 3600);
    await tab.getByText(/2\d\d\D\d{3} frames/).waitFor({ timeout: 60_000 });
    await tab.waitForTimeout(5000);
    const probe = await tab.context().newCDPSession(tab);
    await probe.send("Performance.enable");
    const measure = async () => {
      await probe.send("HeapProfiler.collectGarbage");
      const { metrics } = await probe.send("Performance.getMetrics");
      const of = (name: string) => metrics.find((m) => m.name === name)?.value ?? Number.NaN;
      return { heap: of("JSHeapUsedSize") / 2 ** 20, nodes: of("Nodes"), listeners: of("JSEventListeners") };
    };
    const began = Date.now();
    let since = began;
    const live = setInterval(() => {
      const now = Date.now();
      grow((now - since) / 1000);
      since = now;
      // A greeting every 20 s, as in a busy session; the newest 100 are asked for.
      const due = Math.floor((now - began) / 20_000) + 4;
      while (world.encounters.length < due) world.encounters.unshift({ ...world.encounters[3]!, encounter_id: `s${world.encounters.length}`, stimulus_time_utc: new Date(world.epoch - 30_000).toISOString() });
      world.encounters.length = Math.min(world.encounters.length, 100);
    }, 250);
    const points = [];
    for (let minute = 0; minute <= MINUTES; minute += 1) {
      if (minute > 0) await tab.waitForTimeout(60_000);
      const point = await measure();
      points.push(point);
      console.log(`after ${minute} min: ${point.heap.toFixed(1)} MiB of JavaScript, ${point.nodes} nodes, ${point.listeners} listeners`);
    }
    clearInterval(live);
    const second = points.slice(Math.floor(points.length / 2));
    console.log(`soak: ${MINUTES} min of real time with four updates a second; over its second half ${(second.at(-1)!.heap - second[0]!.heap).toFixed(2)} MiB`);
    await tab.close();
  });
});
