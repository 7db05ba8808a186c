// The console's signs, drawn as lines; each stands beside a text, never alone.
import type { Status } from "../status";

const paths: Record<string, string> = {
  overview: "M3 3h7v7H3zM14 3h7v4h-7zM14 11h7v10h-7zM3 14h7v7H3z",
  live: "M3 12h4l3-8 4 16 3-8h4",
  experiments: "M9 3h6M10 3v6l-5 9a2 2 0 0 0 2 3h10a2 2 0 0 0 2-3l-5-9V3M7.5 15h9",
  physiology: "M20.8 5.6a5.5 5.5 0 0 0-7.8 0L12 6.7l-1-1.1a5.5 5.5 0 0 0-7.8 7.8L12 22l8.8-8.6a5.5 5.5 0 0 0 0-7.8zM4 12h4l2-3 3 6 2-3h5",
  health: "M12 3l8 3v6c0 5-3.5 8-8 9-4.500-1-8-4-8-9V6zM9 12l2 2 4-4",
  sessions: "M4 6h16M4 12h16M4 18h10",
  ok: "M5 12.500l4.500 4.500L19 7.500",
  info: "M12 11v6M12 7v.5M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18z",
  warn: "M12 4L2.800 20h18.400zM12 10v4.500M12 17.500v.2",
  error: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM9 9l6 6M15 9l-6 6",
  neutral: "M7 12h10",
  progress: "M20 11a8 8 0 0 0-14.500-4M4 4v4h4M4 13a8 8 0 0 0 14.500 4M20 20v-4h-4",
  send: "M21 3L10 14M21 3l-7 18-4-7-7-4z",
  plus: "M12 5v14M5 12h14",
  minus: "M5 12h14",
  stop: "M6 6h12v12H6z",
  follow: "M5 5l7 7-7 7M13 5l7 7-7 7",
};

export type IconName = keyof typeof paths;

export function Icon({ name }: { name: Status | string }) {
  return (
    <svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2" stroke-linecap="round" stroke-linejoin="round" aria-hidden="true">
      <path d={paths[name] ?? ""} />
    </svg>
  );
}
