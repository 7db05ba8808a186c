// Alerts as a table, deduplicated by id, newest first.
import type { Alert } from "../api/records";
import { clock, instant, words } from "../format";
import { severityStatus } from "../status";
import { texts } from "../texts";
import { Pill, Table } from "./basics";

const t = texts.health.alertColumns;

/** Each alert once, the newest first. */
export function newestAlerts(alerts: readonly Alert[]): Alert[] {
  const unique = [...new Map(alerts.map((alert) => [alert.alert_id, alert])).values()];
  return unique.sort((a, b) => Date.parse(b.emitted_at_utc) - Date.parse(a.emitted_at_utc));
}

export function AlertTable({ alerts, compact }: { alerts: Alert[]; compact?: boolean }) {
  return (
    <Table label={texts.health.alerts} columns={[t.time, t.severity, t.kind, !compact && t.subsystem, t.message, !compact && t.ack]}>
      {newestAlerts(alerts).map((alert) => (
        <tr key={alert.alert_id}>
          <td class="nowrap"><time dateTime={alert.emitted_at_utc} title={instant(alert.emitted_at_utc)}>{clock(alert.emitted_at_utc)}</time></td>
          <td><Pill status={severityStatus[alert.severity]}>{texts.severities[alert.severity]}</Pill></td>
          <td class="nowrap">{words(alert.kind)}</td>
          {!compact && <td>{words(alert.subsystem_key)}</td>}
          <td class="long">{alert.message}</td>
          {!compact && <td>{alert.acknowledged ? texts.health.yes : texts.health.no}</td>}
        </tr>
      ))}
    </Table>
  );
}
