// Every partition of the log and every live session: those that stall first, each with why and since when.
import type { Source } from "../api/records";
import { clock } from "../format";
import { sourceStatus } from "../status";
import { texts } from "../texts";
import { Pill, Table } from "./basics";

const t = texts.health;
const ORDER: Source["state"][] = ["stalled", "idle", "healthy"];

export function Sources({ list }: { list: Source[] }) {
  const sorted = [...list].sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || b.kind.localeCompare(a.kind) || a.source.localeCompare(b.source));
  return (
    <Table label={t.sources} columns={[t.sourceColumns.source, t.sourceColumns.kind, t.sourceColumns.state, t.sourceColumns.reason, t.sourceColumns.since]}>
      {sorted.map((s) => (
        <tr key={`${s.kind}.${s.source}`}>
          <td class="label">{s.source}</td>
          <td>{t.sourceKinds[s.kind]}</td>
          <td><Pill status={sourceStatus[s.state]}>{t.sourceStates[s.state]}</Pill></td>
          <td class="long">{s.reason ?? "—"}</td>
          <td class="nowrap">{clock(s.since_utc)}</td>
        </tr>
      ))}
    </Table>
  );
}
