// Where the operator is: the page and the selected session, both in the address so that a reload keeps them.
import { effect, signal } from "@preact/signals";

export const pages = ["overview", "live", "experiments", "physiology", "health", "sessions"] as const;
export type Page = (typeof pages)[number];

export const page = signal<Page>("overview");
/** The selected session, kept across pages. */
export const selected = signal<string | null>(null);

/** Goes to a page; the selection stays. */
export function go(to: Page): void {
  page.value = to;
}

/** Selects a session and shows it. */
export function openLive(sessionId: string): void {
  selected.value = sessionId;
  page.value = "live";
}

export function href(to: Page): string {
  return selected.value === null ? `#/${to}` : `#/${to}/${selected.value}`;
}

/** Follows the address, and keeps it up to date. */
export function followAddress(): void {
  const read = () => {
    const [, name, id] = location.hash.split("/");
    page.value = pages.find((known) => known === name) ?? "overview";
    if (id && /^[0-9a-f-]{36}$/.test(id)) selected.value = id;
  };
  read();
  window.addEventListener("hashchange", read);
  effect(() => {
    const wanted = href(page.value);
    if (location.hash !== wanted) history[location.hash.split("/")[1] === page.value ? "replaceState" : "pushState"](null, "", wanted);
  });
}
