// What the voice did around a greeting: validity, three measures with their change, voiced coverage.
import type { Acoustic } from "../api/records";
import { hertz, ratio, ratioDelta, seconds, semitones } from "../format";
import type { Status } from "../status";
import { texts } from "../texts";
import { Card, Pill, Rows } from "./basics";

const t = texts.acoustic;

export function AcousticSection({ acoustic: a }: { acoustic: Acoustic | null }) {
  return (
    <section class="part" aria-label={t.title}>
      <h3>{t.title}</h3>
      {a === null || Object.values(a).every((value) => value === null) ? <p class="empty">{t.empty}</p> : <Measures a={a} />}
    </section>
  );
}

function Measures({ a }: { a: Acoustic }) {
  const f0 = { valid: [a.f0_valid_measure, a.f0_valid_baseline] as Flags };
  const perturbation = { valid: [a.perturbation_valid_measure, a.perturbation_valid_baseline] as Flags };
  return (
    <>
      <div class="pills">
        <Validity name={t.f0} flags={f0.valid} />
        <Validity name={t.perturbation} flags={perturbation.valid} />
      </div>
      <div class="cards narrow">
        <Measure name={t.f0} values={[a.f0_mean_measure_hz, a.f0_mean_baseline_hz, a.f0_delta_semitones]} write={hertz} delta={semitones} flags={f0.valid} />
        <Measure name={t.jitter} values={[a.jitter_mean_measure, a.jitter_mean_baseline, a.jitter_delta]} write={ratio} delta={ratioDelta} flags={perturbation.valid} />
        <Measure name={t.shimmer} values={[a.shimmer_mean_measure, a.shimmer_mean_baseline, a.shimmer_delta]} write={ratio} delta={ratioDelta} flags={perturbation.valid} />
      </div>
      <p class="muted small">{t.coverage(seconds(a.voiced_coverage_measure_s, 2), seconds(a.voiced_coverage_baseline_s, 2))}</p>
    </>
  );
}

/** Validity in the measurement window and in the baseline. */
type Flags = [boolean | null, boolean | null];

function named(flags: Flags, wanted: boolean | null): string | null {
  const [measure, baseline] = [flags[0] === wanted, flags[1] === wanted];
  if (measure && baseline) return t.windows.both;
  return measure ? t.windows.measure : baseline ? t.windows.baseline : null;
}

export function validity(flags: Flags): { status: Status; text: string } {
  const invalid = named(flags, false);
  const unknown = named(flags, null);
  if (invalid !== null) return { status: "info", text: t.invalid(invalid) };
  if (unknown !== null) return { status: "neutral", text: t.unknown(unknown) };
  return { status: "ok", text: t.valid };
}

function Validity({ name, flags }: { name: string; flags: Flags }) {
  const { status, text } = validity(flags);
  return <Pill status={status}>{`${name} ${text}`}</Pill>;
}

interface MeasureProps {
  name: string;
  values: [number | null, number | null, number | null];
  write: (value: number | null) => string;
  delta: (value: number | null) => string;
  flags: Flags;
}

function Measure({ name, values: [measure, baseline, change], write, delta, flags }: MeasureProps) {
  return (
    <Card title={name}>
      <div class="value">{change === null ? "—" : delta(change)}</div>
      {change === null && <p class="muted small">{t.notMeasured(whyMissing(measure, baseline, flags))}</p>}
      <Rows rows={[[t.measure, write(measure)], [t.baseline, write(baseline)]]} />
    </Card>
  );
}

/** The nearest reason for a missing change: an invalid window, else a missing mean. */
export function whyMissing(measure: number | null, baseline: number | null, flags: Flags): string {
  const invalid = named(flags, false);
  if (invalid !== null) return t.windowInvalid(invalid);
  return t.meanMissing(named([measure === null ? null : true, baseline === null ? null : true], null) ?? t.windows.both);
}
