// A modal dialog on the browser's own element, which keeps the focus inside and closes on Escape.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { texts } from "../texts";

interface DialogProps {
  title: string;
  go: string;
  danger?: boolean;
  /** While true, nothing can be pressed. */
  pending?: boolean;
  valid?: boolean;
  problem?: string | null;
  onGo: () => void;
  onClose: () => void;
  children: ComponentChildren;
}

export function Dialog({ title, go, danger, pending = false, valid = true, problem, onGo, onClose, children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const heading = useId();
  useEffect(() => {
    element.current?.showModal();
    return () => element.current?.close();
  }, []);
  const submit = (event: Event) => {
    event.preventDefault();
    if (valid && !pending) onGo();
  };
  return (
    <dialog
      ref={element}
      aria-labelledby={heading}
      onCancel={(event) => {
        event.preventDefault();
        if (!pending) onClose();
      }}
    >
      <form onSubmit={submit}>
        <h2 id={heading}>{title}</h2>
        {children}
        {problem && <p class="field"><span class="problem" role="alert">{problem}</span></p>}
        <div class="actions">
          <button type="button" class="button" disabled={pending} onClick={onClose}>{texts.dialogs.cancel}</button>
          <button type="submit" class={`button ${danger ? "danger" : "main"}`} disabled={pending || !valid}>{go}</button>
        </div>
      </form>
    </dialog>
  );
}

interface FieldProps {
  label: string;
  value: string;
  onInput: (value: string) => void;
  hint?: string;
  problem?: string | null;
  type?: string;
  disabled?: boolean;
  list?: string;
}

/** A labelled line of text. */
export function Field({ label, value, onInput, hint, problem, type = "text", disabled, list }: FieldProps) {
  const id = useId();
  return (
    <label class="field">
      {label}
      <input
        type={type}
        value={value}
        disabled={disabled}
        list={list}
        autocomplete="off"
        aria-invalid={problem ? "true" : undefined}
        aria-describedby={id}
        onInput={(event) => onInput(event.currentTarget.value)}
      />
      <span id={id} class={problem ? "problem" : "hint"}>{problem || hint || ""}</span>
    </label>
  );
}
