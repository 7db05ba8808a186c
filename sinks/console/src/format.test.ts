// The formatting rules of the console (specification §8), value by value.
import { describe, expect, it } from "vitest";
import * as f from "./format";

describe("numbers", () => {
  it("writes rewards with three decimals", () => {
    expect(f.reward(0.9114)).toBe("0.911");
    expect(f.reward(0)).toBe("0.000");
    expect(f.reward(1)).toBe("1.000");
  });
  it("never writes a negative zero", () => {
    expect(f.reward(-0.0001)).toBe("0.000");
    expect(f.correlation(-0.0001)).toBe("0.000");
    expect(f.semitones(-0)).toBe("0.00\u00a0st");
  });
  it("signs correlations and semitones", () => {
    expect(f.correlation(0.5)).toBe("+0.500");
    expect(f.correlation(-0.25)).toBe("−0.250");
    expect(f.semitones(1.234)).toBe("+1.23\u00a0st");
  });
  it("writes units with their decimals", () => {
    expect(f.rmssd(42.4)).toBe("42\u00a0ms");
    expect(f.hertz(211.26)).toBe("211.3\u00a0Hz");
    expect(f.ratio(0.01234)).toBe("0.0123");
    expect(f.ratioDelta(0.01234)).toBe("+0.0123");
    expect(f.heartRate(64)).toBe("64\u00a0bpm");
  });
  it("writes percent with no decimal or one", () => {
    expect(f.percent(0.5)).toBe("50\u00a0%");
    expect(f.percent(0.123)).toBe("12.3\u00a0%");
    expect(f.percent(1)).toBe("100\u00a0%");
  });
  it("groups thousands", () => {
    expect(f.whole(54000)).toBe("54\u202f000");
    expect(f.whole(999)).toBe("999");
  });
});

describe("what is missing", () => {
  it("is a long dash without a unit, whatever it would have been", () => {
    for (const write of [f.reward, f.rmssd, f.hertz, f.percent, f.duration, f.correlation, f.semitones, f.seconds, f.whole]) {
      expect(write(null)).toBe("—");
      expect(write(undefined)).toBe("—");
      expect(write(Number.NaN)).toBe("—");
    }
    for (const write of [f.instant, f.clock]) expect(write(null)).toBe("—");
    expect(f.shortened("", 10)).toBe("—");
    expect(f.words(null)).toBe("—");
  });
});

describe("durations", () => {
  it("start with the largest part that is there", () => {
    expect(f.duration(0)).toBe("0 s");
    expect(f.duration(59.9)).toBe("59 s");
    expect(f.duration(60)).toBe("1 m 0 s");
    expect(f.duration(96)).toBe("1 m 36 s");
    expect(f.duration(3723)).toBe("1 h 2 m 3 s");
    expect(f.duration(90000)).toBe("25 h 0 m 0 s");
  });
  it("never go below zero", () => expect(f.duration(-3)).toBe("0 s"));
});

describe("instants", () => {
  it("are UTC, to the second, with Z", () => {
    expect(f.instant("2026-01-05T10:00:00.123456Z")).toBe("2026-01-05 10:00:00Z");
    expect(f.instant("2026-01-05T11:00:00+01:00")).toBe("2026-01-05 10:00:00Z");
    expect(f.clock(0)).toBe("00:00:00Z");
  });
  it("that cannot be read are missing", () => expect(f.instant("yesterday")).toBe("—"));
});

describe("texts", () => {
  it("are cut to a number of characters, the ellipsis among them", () => {
    expect(f.shortened("hello", 5)).toBe("hello");
    expect(f.shortened("hello you", 6)).toBe("hello…");
    expect(f.shortened("👋".repeat(5), 3)).toBe("👋👋…");
  });
  it("of codes are words", () => expect(f.words("rejected_gate_closed")).toBe("rejected gate closed"));
});
