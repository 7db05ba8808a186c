// Dark or light: as the system has it, or as chosen here.
import { effect, signal } from "@preact/signals";

export const themes = ["system", "dark", "light"] as const;
export type Theme = (typeof themes)[number];
const KEY = "lsie.theme";

export const theme = signal<Theme>(stored());
/** Counts changes of the colours, for what is painted on a canvas. */
export const paint = signal(0);

function stored(): Theme {
  try {
    return themes.find((known) => known === localStorage.getItem(KEY)) ?? "system";
  } catch {
    return "system";
  }
}

export function followTheme(): void {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const systemDark = signal(system.matches);
  system.addEventListener("change", () => (systemDark.value = system.matches));
  effect(() => {
    const dark = theme.value === "system" ? systemDark.value : theme.value === "dark";
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    colours.clear();
    try {
      localStorage.setItem(KEY, theme.value);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
    paint.value = paint.peek() + 1;
  });
}

const colours = new Map<string, string>();

/** A colour of the present theme by the name of its custom property. */
export function colour(name: string): string {
  const known = colours.get(name);
  if (known !== undefined) return known;
  const value = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  colours.set(name, value);
  return value;
}
