// What states mean, where that takes more than a table.
import { describe, expect, it } from "vitest";
import { listenedUntil } from "./status";

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
