// The binary lsie as browser tests drive it: started on any free port, stopped or killed whatever happens.
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
/** LSIE_BIN, or the workspace's release build. */
export const binary = process.env.LSIE_BIN ?? join(here, "../../../target/release/lsie");

/** A server as a binary without the console is, for the page that stands for it. */
export const bare = join(dirname(binary), "examples/without_console");

/** A running engine. */
export interface Engine {
  url: string;
  /** Ends it as a crash would; resolves when it is gone. */
  kill(): Promise<void>;
}

/** A folder of one test, which is removed after it. */
export function folder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(tmpdir(), "lsie-console-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** Runs a command of lsie to its end; what it printed. */
export function lsie(dir: string, ...args: string[]): string {
  if (!existsSync(binary)) throw new Error(`${binary} is missing: cargo build --release --workspace`);
  return execFileSync(binary, args, { cwd: dir, encoding: "utf8", timeout: 60_000 });
}

/** Starts a command of lsie that serves the console; resolves when it does. */
export function start(dir: string, ...args: string[]): Promise<Engine> {
  return serve(binary, dir, ...args);
}

/** Starts a program that prints where it serves. */
export function serve(program: string, dir: string, ...args: string[]): Promise<Engine> {
  if (!existsSync(program)) throw new Error(`${program} is missing: cargo build --release --workspace --bins --examples`);
  const child = spawn(program, args, { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<void>((resolve) => child.on("exit", () => resolve()));
  const kill = () => {
    running.delete(child);
    child.kill("SIGKILL");
    return ended;
  };
  running.add(child);
  return new Promise((resolve, reject) => {
    let said = "";
    const read = (chunk: Buffer) => {
      said += chunk.toString();
      const url = /http:\/\/127\.0\.0\.1:\d+\//.exec(said)?.[0];
      if (url !== undefined) resolve({ url, kill });
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("exit", (code) => reject(new Error(`${program} ${args.join(" ")} ended with ${code}: ${said}`)));
  });
}

/** What promtool says of the metrics that an engine serves; empty: nothing is wrong. */
export function checkMetrics(text: string): string {
  const cache = process.env.LSIE_CACHE ?? join(process.env.XDG_CACHE_HOME ?? join(homedir(), ".cache"), "lsie");
  const unpacked = join(cache, "lint/prometheus/usr/bin/promtool");
  const { error, stdout, stderr } = spawnSync(existsSync(unpacked) ? unpacked : "promtool", ["check", "metrics"], { input: text, encoding: "utf8" });
  if (error !== undefined) throw new Error(`no promtool: docker/lint.sh gets it (${error.message})`);
  return stdout + stderr;
}

const running = new Set<ChildProcess>();
process.on("exit", () => running.forEach((child) => child.kill("SIGKILL")));
