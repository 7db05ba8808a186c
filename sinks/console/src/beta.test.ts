// The Beta density against what is known of it in closed form.
import { describe, expect, it } from "vitest";
import { curve, density, logGamma, mean } from "./beta";

describe("the density of Beta", () => {
  it("is flat for (1, 1)", () => {
    for (const x of [0.01, 0.3, 0.99]) expect(density(1, 1, x)).toBeCloseTo(1, 12);
  });
  it("is 6x(1-x) for (2, 2)", () => expect(density(2, 2, 0.25)).toBeCloseTo(1.125, 12));
  it("knows factorials", () => expect(Math.exp(logGamma(6))).toBeCloseTo(120, 9));
  it("integrates to one, also when it is narrow", () => {
    for (const [a, b] of [[2.205, 2.795], [400, 80], [1, 7]] as const) {
      const points = curve(a, b, 4000);
      expect(points.reduce((s, p) => s + p.y, 0) / points.length).toBeCloseTo(1, 4);
    }
  });
  it("has its mean", () => expect(mean(2.205, 2.795)).toBeCloseTo(0.441, 12));
});
