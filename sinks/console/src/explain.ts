// Why a reward is what it is, in words. Confidence never scales a reward, and no sentence may sound as if it did.
import type { Encounter } from "./api/records";
import { clock, percent, reward } from "./format";
import { unheard } from "./status";
import { texts } from "./texts";

const { explain } = texts;

/** Reasons that say nothing about what was said. */
const UNJUDGED = new Set(["semantic_error", "semantic_timeout", "semantic_local_failure_fallback"]);

/** The sentences that explain an encounter, the decisive one first. */
export function explanation(e: Encounter, heardUpTo = -Infinity): string[] {
  switch (e.state) {
    case "awaiting_stimulus":
      return [explain.awaiting];
    case "stimulus_issued":
      return [explain.issued, explain.follows(clock(e.segment_timestamp_utc))];
    case "measuring":
      return unheard(e, heardUpTo) ? [explain.unheard, ...circumstances(e)] : [explain.measuring, explain.follows(clock(e.segment_timestamp_utc))];
    default:
  }
  if (e.n_frames_in_window === 0) return [explain.noFrames];
  const reason = e.semantic_evaluation?.reasoning ?? "";
  if (e.semantic_gate === 0 && UNJUDGED.has(reason)) {
    return [explain.unjudged(reward(e.p90_intensity), texts.semantic.reasons[reason] ?? reason), ...circumstances(e)];
  }
  const confidence = e.semantic_evaluation?.confidence_score ?? e.semantic_confidence;
  if (e.semantic_gate === 0) {
    return [explain.gateClosed(reward(e.p90_intensity), confidence === null ? null : percent(confidence)), ...circumstances(e)];
  }
  return [explain.completed(reward(e.p90_intensity), reward(e.gated_reward)), ...circumstances(e)];
}

function circumstances(e: Encounter): string[] {
  const sentences: string[] = [];
  if (e.baseline_b_neutral !== null) sentences.push(explain.baseline(reward(e.baseline_b_neutral)));
  if (e.n_frames_in_window !== null) sentences.push(explain.frames(e.n_frames_in_window));
  if (e.physiology_attached) sentences.push(e.physiology_stale ? explain.physiologyStale : explain.physiologyFresh);
  return sentences;
}
