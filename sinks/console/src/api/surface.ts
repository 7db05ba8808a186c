// A surface: one thing the console shows and keeps up to date. It fails alone, and keeps its last good data.
import { type ReadonlySignal, type Signal, effect, signal, untracked } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type * as v from "valibot";
import { ApiError, get, loginNeeded } from "./client";

export interface SurfaceState<T> {
  /** The last good data; null before the first. */
  data: T | null;
  /** Why the newest attempt failed; null after a success. */
  error: ApiError | null;
  /** When the data came, by the browser's clock. */
  at: number | null;
  /** The epoch that the data are as of. */
  epoch: number | null;
  /** Whether a first answer is still awaited. */
  loading: boolean;
}

export interface Options<T> {
  name: string;
  /** The route, null while there is nothing to ask for; a change forgets the data. */
  path: () => string | null;
  /** What is added to the route at each request, and is no change of it. */
  query?: () => string;
  schema: v.GenericSchema<unknown, T>;
  /** The greatest age of the data, ms: how often they are fetched without an event. */
  everyMs: () => number;
  /** Whether an engine may be without it: then it is empty, not failed. */
  optional?: boolean;
  /** Views whose changes make the data old. */
  views: string[];
}

/** Events in quick succession cause one request at most this often, ms. */
const APART_MS = 250;

export class Surface<T> {
  readonly name: string;
  readonly state: Signal<SurfaceState<T>>;
  private readonly options: Options<T>;
  private users = 0;
  private stopEffect: (() => void) | null = null;
  private timer: ReturnType<typeof setTimeout> | null = null;
  private request: AbortController | null = null;
  private again = false;
  private startedAt = 0;
  private path: string | null = null;

  constructor(options: Options<T>) {
    this.name = options.name;
    this.options = options;
    this.state = signal({ data: null, error: null, at: null, epoch: null, loading: false });
    all.add(this as Surface<unknown>);
  }

  get data(): T | null {
    return this.state.value.data;
  }

  /** Someone looks at it: it is fetched now and kept up to date. Returns what ends that. */
  use(): () => void {
    this.users += 1;
    if (this.users === 1) {
      this.stopEffect = effect(() => {
        const path = this.options.path();
        untracked(() => this.aim(path));
      });
    }
    return () => {
      this.users -= 1;
      if (this.users > 0) return;
      this.stopEffect?.();
      this.stopEffect = null;
      this.halt();
    };
  }

  get active(): boolean {
    return this.users > 0;
  }

  /** Whether a change of these views makes the data old. */
  reads(views: ReadonlySet<string>): boolean {
    return this.options.views.some((view) => views.has(view));
  }

  /** Fetches soon: at once, or a little later if it just did. */
  refresh(): void {
    if (!this.active || this.path === null || document.hidden) return;
    if (this.request) {
      this.again = true;
      return;
    }
    const wait = this.startedAt + APART_MS - Date.now();
    this.plan(Math.max(0, Math.min(wait, APART_MS)));
  }

  /** Stops asking, for example while the page is hidden. */
  halt(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
    this.request?.abort();
    this.request = null;
    this.again = false;
  }

  private aim(path: string | null): void {
    if (path !== this.path) {
      this.state.value = { data: null, error: null, at: null, epoch: null, loading: path !== null };
      this.startedAt = 0;
    }
    this.path = path;
    this.halt();
    this.refresh();
  }

  private plan(inMs: number): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = setTimeout(() => void this.fetch(), inMs);
  }

  private async fetch(): Promise<void> {
    const path = this.path;
    if (path === null) return;
    const request = new AbortController();
    this.request = request;
    this.startedAt = Date.now();
    try {
      const answer = await get(path + (this.options.query?.() ?? ""), this.options.schema, request.signal);
      if (request.signal.aborted) return;
      this.state.value = { data: answer.data, error: null, at: Date.now(), epoch: answer.epoch, loading: false };
    } catch (error) {
      if (request.signal.aborted) return;
      const known = error instanceof ApiError ? error : new ApiError("schema", String(error));
      if (known.kind === "missing" && this.options.optional) {
        this.state.value = { data: null, error: null, at: null, epoch: null, loading: false };
        return this.wait();
      }
      this.state.value = { ...this.state.value, error: known, loading: false };
    }
    this.wait();
  }

  /** Plans the next request. */
  private wait(): void {
    this.request = null;
    const soon = this.again;
    this.again = false;
    if (!this.active || loginNeeded.value) return;
    this.plan(soon ? APART_MS : this.options.everyMs());
  }
}

/** Every surface there is. */
const all = new Set<Surface<unknown>>();

/** Refreshes what is looked at and reads one of these views. */
export function refreshReaders(views: ReadonlySet<string>): void {
  for (const surface of all) if (surface.active && surface.reads(views)) surface.refresh();
}

/** Refreshes all that is looked at. */
export function refreshAll(): void {
  for (const surface of all) if (surface.active) surface.refresh();
}

/** Nothing is asked for while the page is hidden; back in sight, everything is. */
export function followVisibility(): void {
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) return refreshAll();
    for (const surface of all) surface.halt();
  });
}

/** How many surfaces that are looked at fail for want of a connection. */
export function disconnected(): boolean {
  return [...all].some((s) => s.active && (s.state.value.error?.kind === "connection" || s.state.value.error?.kind === "timeout"));
}

/** Keeps surfaces up to date while a component is on the page. */
export function useSurfaces(...surfaces: Surface<never>[]): void {
  useEffect(() => {
    const ends = surfaces.map((surface) => surface.use());
    return () => ends.forEach((end) => end());
  }, []);
}

/** What a banner needs to know of a surface. */
export type SurfaceStateSignal = ReadonlySignal<SurfaceState<unknown>>;
