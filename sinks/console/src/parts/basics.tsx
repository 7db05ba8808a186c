// The smallest parts: pills, cards, panels, banners, and the frame of a surface with all its states.
import type { ComponentChildren } from "preact";
import type { Surface } from "../api/surface";
import { clock } from "../format";
import type { Status } from "../status";
import { texts } from "../texts";
import { Icon } from "./icon";

/** A state: colour, sign and text. */
export function Pill({ status, children, title }: { status: Status; children: ComponentChildren; title?: string | undefined }) {
  return (
    <span class={`pill ${status}`} title={title}>
      <Icon name={status} />
      <span>{children}</span>
    </span>
  );
}

interface CardProps {
  title: string;
  status?: Status;
  pill?: string | undefined;
  onOpen?: (() => void) | undefined;
  openLabel?: string;
  children: ComponentChildren;
}

/** A titled value with a state; one that opens something is a button. */
export function Card({ title, status = "neutral", pill, onOpen, openLabel, children }: CardProps) {
  const inside = (
    <>
      <div class="head">
        <h2>{title}</h2>
        {pill !== undefined && <Pill status={status}>{pill}</Pill>}
      </div>
      {children}
    </>
  );
  if (onOpen === undefined) return <section class={`card ${status}`} aria-label={title}>{inside}</section>;
  return (
    <button type="button" class={`card ${status}`} onClick={onOpen} >
      <span class="visually-hidden">{openLabel}</span>
      {inside}
    </button>
  );
}

/** Pairs of name and value. */
export function Rows({ rows }: { rows: [string, ComponentChildren][] }) {
  return (
    <dl class="rows">
      {rows.map(([name, value]) => (
        <>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </>
      ))}
    </dl>
  );
}

/** A table that scrolls by itself, with a head cell for each of the columns that there are. */
export function Table({ label, columns, children }: { label: string; columns: (string | false)[]; children: ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead><tr>{columns.map((column) => column !== false && <th key={column} scope="col">{column}</th>)}</tr></thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

interface PanelProps {
  title: string;
  hint?: string;
  actions?: ComponentChildren;
  flush?: boolean;
  children: ComponentChildren;
}

/** A titled area of a page. */
export function Panel({ title, hint, actions, flush, children }: PanelProps) {
  return (
    <section class="panel" aria-label={title}>
      <header>
        <h2>{title}</h2>
        {hint !== undefined && <span class="muted small">{hint}</span>}
        {actions !== undefined && <div class="push">{actions}</div>}
      </header>
      <div class={flush ? "flush" : "body"}>{children}</div>
    </section>
  );
}

/** Says why a surface could not be refreshed; it stays until that succeeds. */
export function Banner({ of }: { of: Surface<never> }) {
  const { error, data, at } = of.state.value;
  if (error === null) return null;
  return (
    <div class="banner" role="status">
      <Icon name="warn" />
      <div>
        <strong>{texts.failure.banner(of.name, error.message)}</strong>{" "}
        {error.retryable ? texts.failure.retrying : texts.failure.permanent}
        {data !== null && at !== null && ` ${texts.failure.lastGood(clock(at))}`}
      </div>
    </div>
  );
}

interface ShowProps<T> {
  of: Surface<T>;
  empty: string;
  isEmpty?: (data: T) => boolean;
  children: (data: T) => ComponentChildren;
}

/** A surface in all its states: loading, empty, data, and an error above the last good data. */
export function Show<T>({ of, empty, isEmpty, children }: ShowProps<T>) {
  const { data, error, loading } = of.state.value;
  return (
    <>
      <Banner of={of as Surface<never>} />
      {data === null
        ? error === null && <p class="empty">{loading ? texts.loading : empty}</p>
        : isEmpty?.(data)
          ? <p class="empty">{empty}</p>
          : children(data)}
    </>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}
