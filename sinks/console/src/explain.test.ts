// The explanation of a reward, for each way an encounter can end.
import { describe, expect, it } from "vitest";
import type { Encounter } from "./api/records";
import { explanation } from "./explain";

const base: Encounter = {
  encounter_id: "e", session_id: "s", segment_timestamp_utc: "2026-01-05T10:00:30Z", state: "completed",
  active_arm: "warm_welcome", expected_greeting: "hello", stimulus_time_utc: "2026-01-05T10:00:10Z",
  semantic_gate: 1, semantic_confidence: 0.83, p90_intensity: 0.911, gated_reward: 0.911, n_frames_in_window: 135,
  baseline_b_neutral: 0.009, physiology_attached: true, physiology_stale: false, notes: [],
  observational_acoustic: null, semantic_evaluation: null, attribution: null,
};

describe("an explanation", () => {
  it("of a reward names P90, gate and reward, and nothing else first", () => {
    const [first, ...rest] = explanation(base);
    expect(first).toContain("P90 0.911 × 1 = reward 0.911");
    expect(rest.join(" ")).toContain("0.009");
    expect(rest.join(" ")).toContain("135 frames");
    expect(rest.join(" ")).toContain("fresh physiological");
  });
  it("of a reward never mentions confidence", () => {
    expect(explanation(base).join(" ")).not.toMatch(/83|confidence|p_match/);
  });
  it("of a greeting after which nothing was heard says that it gets no reward", () => {
    const silent: Encounter = { ...base, state: "measuring", semantic_gate: null, gated_reward: null };
    expect(explanation(silent)[0]).toContain("The smile was measured");
    expect(explanation(silent, Date.parse("2026-01-05T10:00:15Z"))[0]).toContain("No word was heard");
  });
  it("of a closed gate says what was not admitted, and how sure the judgement was", () => {
    const [first] = explanation({ ...base, state: "rejected_gate_closed", semantic_gate: 0, gated_reward: 0 });
    expect(first).toContain("p_match 83\u00a0%");
    expect(first).toContain("P90 0.911 was not admitted");
    expect(first).toContain("0.000");
  });
  it("of what could not be judged does not claim that nothing was said", () => {
    const said = { reasoning: "semantic_timeout", is_match: false, confidence_score: 0, semantic_method: "cross_encoder", semantic_method_version: "v1" };
    const [first] = explanation({ ...base, state: "rejected_gate_closed", semantic_gate: 0, gated_reward: 0, semantic_evaluation: said });
    expect(first).toContain("could not be judged");
    expect(first).toContain("not judged in time");
    expect(first).not.toMatch(/not heard|p_match/);
  });
  it("of no frames comes before the gate", () => {
    const text = explanation({ ...base, state: "rejected_no_frames", n_frames_in_window: 0, semantic_gate: 0 });
    expect(text).toEqual([expect.stringContaining("no reward could be computed")]);
  });
  it("of an open encounter says what is awaited", () => {
    expect(explanation({ ...base, state: "stimulus_issued" })[0]).toContain("was sent");
    expect(explanation({ ...base, state: "stimulus_issued" })[1]).toContain("ends at 10:00:30Z");
    expect(explanation({ ...base, state: "measuring" })[0]).toContain("judged now");
  });
});
