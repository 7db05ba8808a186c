// Every partition of the log and every live session: those that stall first, each with why and since when.
import type { Source } from "../api/records";
import { clock } from "../format";
import { sourceStatus } from "../status";
import { texts } from "../texts";
import { Pill } from "./basics";

const t = texts.health;
const ORDER: Source["state"][] = ["stalled", "idle", "healthy"];

export function Sources({ list }: { list: Source[] }) {
  const sorted = [...list].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || b.kind.localeCompare(a.kind) || a.source.localeCompare(b.source));
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={t.sources}>
      <table>
        <thead>
          <tr>
            <th scope="col">{t.sourceColumns.source}</th>
            <th scope="col">{t.sourceColumns.kind}</th>
            <th scope="col">{t.sourceColumns.state}</th>
            <th scope="col">{t.sourceColumns.reason}</th>
            <th scope="col">{t.sourceColumns.since}</th>
          </tr>
        </thead>
        <tbody>
          {sorted.map((s) => (
            <tr key={`${s.kind}.${s.source}`}>
              <td class="label">{s.source}</td>
              <td>{t.sourceKinds[s.kind]}</td>
              <td><Pill status={sourceStatus[s.state]}>{t.sourceStates[s.state]}</Pill></td>
              <td class="long">{s.reason ?? "—"}</td>
              <td class="nowrap">{clock(s.since_utc)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
