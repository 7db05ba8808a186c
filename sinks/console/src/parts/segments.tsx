// The segments of a session on a line: when each closed and why, and what became of the session's records.
import { useState } from "preact/hooks";
import type { RecordClass, Segment } from "../api/records";
import { deadLetters, recordClasses, segments } from "../api/surfaces";
import { clock, seconds, toMs, whole, words } from "../format";
import type { Status } from "../status";
import { texts } from "../texts";
import { Banner, Panel, Pill, Rows, Show } from "./basics";
import { Icon } from "./icon";

const t = texts.segments;
const closingStatus: Record<string, Status> = { complete: "ok", ended: "neutral", stalled: "warn", max_wait: "warn" };

export function SegmentsPanel() {
  const [chosen, setChosen] = useState<number | null>(null);
  return (
    <Panel title={t.title} actions={<Records />}>
      <Show of={segments} empty={t.empty} isEmpty={(list) => list.length === 0}>
        {(rows) => {
          const list = [...rows].sort((a, b) => a.ordinal - b.ordinal);
          const shown = list.find((s) => s.ordinal === chosen) ?? list.at(-1)!;
          return (
            <>
              <ol class="segments">
                {list.map((s) => (
                  <li key={s.ordinal}>
                    <button type="button" class={`segment ${closingStatus[s.closed_by] ?? "neutral"}`} aria-pressed={s === shown} aria-label={t.item(s.ordinal, reason(s))} onClick={() => setChosen(s.ordinal)}>
                      <span class="n">{s.ordinal}</span>
                      <Icon name={closingStatus[s.closed_by] ?? "neutral"} />
                      <span class="faces" style={{ height: `${s.video_frames === 0 ? 0 : (100 * s.face_frames) / s.video_frames}%` }} />
                    </button>
                  </li>
                ))}
              </ol>
              <SegmentDetail s={shown} />
            </>
          );
        }}
      </Show>
    </Panel>
  );
}

const reason = (s: Segment) => t.reasons[s.closed_by] ?? words(s.closed_by);

function SegmentDetail({ s }: { s: Segment }) {
  const wait = ((toMs(s.closed_at) ?? 0) - (toMs(s.window_end_utc) ?? 0)) / 1000;
  return (
    <div class="card plain segment-detail">
      <Rows rows={[
        [t.window, `#${s.ordinal}  ${clock(s.window_start_utc)} – ${clock(s.window_end_utc)}`],
        [t.closed, wait >= 0 ? `${clock(s.closed_at)}, ${t.after(seconds(wait))}` : clock(s.closed_at)],
        [t.because, <Pill status={closingStatus[s.closed_by] ?? "neutral"}>{reason(s)}</Pill>],
        ["", s.evidence_stream === null ? t.byTime : t.evidence(s.evidence_stream, clock(s.evidence_event_time))],
        [t.frames, `${whole(s.video_frames)}, ${t.faces(whole(s.face_frames))}`],
        [t.audio, seconds(s.audio_samples / 16_000)],
      ]} />
    </div>
  );
}

/** What became of this session's records: everything that was not simply used, by name. */
function Records() {
  const mine = recordClasses.data ?? [];
  const total = (name: string) => mine.filter((row) => row.class === name).reduce((sum, row) => sum + row.records, 0);
  if (recordClasses.state.value.error !== null) return <Banner of={recordClasses as never} />;
  if (mine.length === 0) return null;
  const [used, late, filed, duplicate] = ["used", "late", "filed", "duplicate"].map(total) as [number, number, number, number];
  const why = reasons(mine) || (deadLetters.data ?? []).map((d) => words(d.reason)).join(", ");
  return (
    <>
      <span class="muted small">{t.records}: {whole(used)} {t.used}</span>
      {late + filed + duplicate === 0 && <Pill status="ok">{t.allUsed}</Pill>}
      {late > 0 && <Pill status="warn" title={why}>{t.late(whole(late))}</Pill>}
      {filed > 0 && <Pill status="error" title={why}>{t.filed(whole(filed))}</Pill>}
      {duplicate > 0 && <Pill status="neutral">{t.duplicate(whole(duplicate))}</Pill>}
    </>
  );
}

const reasons = (rows: RecordClass[]) =>
  rows.filter((row) => row.reason !== "").map((row) => `${row.topic}: ${words(row.reason)} (${whole(row.records)})`).join("; ");
