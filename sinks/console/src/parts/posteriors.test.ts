// What the history of posteriors shows, also where its beginning is not known.
import { describe, expect, it } from "vitest";
import type { Arm, PosteriorUpdate } from "../api/records";
import { asOf } from "./posteriors";

const arm = (id: string, alpha: number): Arm => ({
  arm_id: id, greeting_text: id, posterior_alpha: alpha, posterior_beta: 2, evaluation_variance: null, selection_count: 1,
  recent_reward_mean: null, recent_semantic_pass_rate: null, enabled: true, end_dated_at: null,
});
const step = (id: string, alpha: number): PosteriorUpdate => ({ experiment_id: "e", arm: id, at: "2026-01-05T10:00:00Z", alpha_param: alpha, beta_param: 2 });
const alphas = (steps: PosteriorUpdate[], at: number, isWhole: boolean) =>
  asOf([arm("a", 9), arm("b", 5)], steps, at, isWhole).map((s) => [s.place, s.arm, s.alpha]);

describe("posteriors as of a step", () => {
  const steps = [step("a", 3), step("a", 9)];
  it("begin at (1, 1) where the whole history is known", () => {
    expect(alphas(steps, 0, true)).toEqual([[0, "a", 1], [1, "b", 1]]);
    expect(alphas(steps, 1, true)).toEqual([[0, "a", 3], [1, "b", 1]]);
  });
  it("leave out what is not known where there was more, and keep places", () => {
    expect(alphas(steps, 0, false)).toEqual([[1, "b", 5]]);
    expect(alphas(steps, 2, false)).toEqual([[0, "a", 9], [1, "b", 5]]);
  });
});
