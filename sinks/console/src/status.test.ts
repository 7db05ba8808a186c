// What states mean, where that takes more than a table.
import { describe, expect, it } from "vitest";
import type { Physiology } from "./api/records";
import { listenedUntil, physiologyOverall } from "./status";

describe("listening", () => {
  const at = (s: number) => new Date(Date.parse("2026-01-05T10:00:00Z") + s * 1000).toISOString();
  const speech = (to: number, created: number) => ({ what: "speech", to_utc: at(to), created_at: at(created) });

  it("counts what was heard once there was time to judge it", () => {
    const heard = [speech(10, 12), speech(20, 22), { ...speech(90, 1), what: "semantic" }];
    expect(listenedUntil(heard, Date.parse(at(24)))).toBe(Date.parse(at(10)));
    expect(listenedUntil(heard, Date.parse(at(25)))).toBe(Date.parse(at(20)));
    expect(listenedUntil([], Date.parse(at(25)))).toBe(-Infinity);
  });
});

describe("physiology at a glance", () => {
  const person = (rmssd_ms: number | null, is_stale: boolean): Physiology => ({ subject_role: "streamer", rmssd_ms, heart_rate_bpm: 60, provider: "oura", source_timestamp_utc: null, freshness_s: 1, is_stale });

  it("is absent without an RMSSD, stale as soon as anyone is, else fresh", () => {
    expect(physiologyOverall([null, null])).toBe("absent");
    expect(physiologyOverall([person(null, true), null])).toBe("absent");
    expect(physiologyOverall([person(40, false), person(null, true)])).toBe("stale");
    expect(physiologyOverall([person(40, false), null])).toBe("fresh");
  });
});
