// How values are written (console specification §8). What is missing is a long dash, never a zero.

/** Stands for a value that is not there. */
export const MISSING = "—";

type Maybe = number | null | undefined;

/** A number with so many decimals; never "-0.000". */
export function decimals(value: Maybe, places: number): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return MISSING;
  const text = value.toFixed(places);
  return Number(text) === 0 ? text.replace("-", "") : text;
}

/** The same with its sign, also for what is positive. */
export function signed(value: Maybe, places: number): string {
  const text = decimals(value, places);
  return text === MISSING || text.startsWith("-") || Number(text) === 0 ? text.replace("-", "−") : `+${text}`;
}

/** Rewards, posteriors, P90: three decimals. */
export const reward = (value: Maybe) => decimals(value, 3);
/** Correlations: signed, three decimals. */
export const correlation = (value: Maybe) => signed(value, 3);
/** Jitter and shimmer: four decimals. */
export const ratio = (value: Maybe) => decimals(value, 4);
export const ratioDelta = (value: Maybe) => signed(value, 4);
export const variance = (value: Maybe) => decimals(value, 4);

/** A value and its unit stay on one line. */
const unit = (text: string, suffix: string) => (text === MISSING ? text : `${text}\u00a0${suffix}`);
/** RMSSD: whole milliseconds. */
export const rmssd = (value: Maybe) => unit(decimals(value, 0), "ms");
export const milliseconds = (value: Maybe) => unit(decimals(value, 0), "ms");
/** Pitch: one decimal. */
export const hertz = (value: Maybe) => unit(decimals(value, 1), "Hz");
/** Pitch changes: signed, two decimals. */
export const semitones = (value: Maybe) => unit(signed(value, 2), "st");
export const heartRate = (value: Maybe) => unit(decimals(value, 0), "bpm");
export const seconds = (value: Maybe, places = 1) => unit(decimals(value, places), "s");

/** A share as percent; one decimal unless it is whole. */
export function percent(value: Maybe): string {
  const text = decimals(value === null || value === undefined ? value : value * 100, 1);
  return unit(text.replace(/\.0$/, ""), "%");
}

/** A duration as `1 h 2 m 3 s`, from its largest part that is not zero. */
export function duration(value: Maybe): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return MISSING;
  const whole = Math.max(0, Math.floor(value));
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (h > 0) return `${h} h ${m} m ${s} s`;
  return m > 0 ? `${m} m ${s} s` : `${s} s`;
}

/** An instant in UTC to the second: `2026-01-05 10:00:00Z`. */
export function instant(value: string | number | null | undefined): string {
  const date = parsed(value);
  return date === null ? MISSING : `${date.toISOString().slice(0, 19).replace("T", " ")}Z`;
}

/** The time of day of an instant: `10:00:00Z`. */
export function clock(value: string | number | null | undefined): string {
  const date = parsed(value);
  return date === null ? MISSING : `${date.toISOString().slice(11, 19)}Z`;
}

/** Milliseconds since the Unix epoch of an instant. */
export function toMs(value: string | null | undefined): number | null {
  return parsed(value)?.getTime() ?? null;
}

function parsed(value: string | number | null | undefined): Date | null {
  if (value === null || value === undefined) return null;
  const date = new Date(value);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** A text cut to a number of characters, with an ellipsis; never within a surrogate pair. */
export function shortened(text: string | null | undefined, most: number): string {
  if (text === null || text === undefined || text === "") return MISSING;
  const characters = Array.from(text);
  return characters.length <= most ? text : `${characters.slice(0, most - 1).join("").trimEnd()}…`;
}

/** The first part of an identifier: enough to tell sessions apart. */
export const shortId = (id: string | null | undefined) => (id ? id.slice(0, 8) : MISSING);

/** An identifier of code as words: `token_overlap` → `token overlap`. */
export const words = (code: string | null | undefined) => (code ? code.replaceAll("_", " ") : MISSING);

/** A whole number with thin spaces between its thousands. */
export const whole = (value: Maybe) => decimals(value, 0).replace(/\B(?=(\d{3})+$)/g, "\u202f");
