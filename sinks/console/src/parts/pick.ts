// A table row that can be picked: by click, by arrow keys among its neighbours, and opened by Enter.

export function pickable(isPicked: boolean, pick: () => void, open?: () => void) {
  return {
    class: "pick",
    tabIndex: 0,
    "aria-selected": isPicked,
    onClick: pick,
    onDblClick: open,
    onKeyDown: (event: KeyboardEvent) => {
      const row = event.currentTarget as HTMLElement;
      if (event.target !== row) return;
      if (event.key === "Enter") (open ?? pick)();
      else if (event.key === " ") pick();
      else if (event.key === "ArrowDown") (row.nextElementSibling as HTMLElement | null)?.focus();
      else if (event.key === "ArrowUp") (row.previousElementSibling as HTMLElement | null)?.focus();
      else return;
      event.preventDefault();
    },
  } as const;
}
