// A chart on uPlot: made once, fed with new data, made anew when its size or the colours change.
import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import { colour, paint } from "../store/theme";

export interface PlotProps {
  data: uPlot.AlignedData;
  height: number;
  /** Everything but size and data; called again when the colours have changed. */
  options: () => Omit<uPlot.Options, "width" | "height">;
  /** The shown part of the x axis, s; all of it if null. */
  range?: [number, number] | null;
  /** Changes when the chart must be drawn again although its data are the same. */
  mark?: unknown;
  onReady?: (plot: uPlot) => void;
}

export function Plot({ data, height, options, range, mark, onReady }: PlotProps) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef({ data, range });
  latest.current = { data, range };

  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    const made = new uPlot({ ...options(), width: Math.max(80, element.clientWidth), height }, latest.current.data, element);
    plot.current = made;
    frame(made, latest.current.data, latest.current.range);
    onReady?.(made);
    const observer = new ResizeObserver(() => {
      if (element.clientWidth > 0) made.setSize({ width: element.clientWidth, height });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [paint.value, height]);

  const drawn = useRef(data);
  useEffect(() => {
    if (plot.current === null) return;
    if (drawn.current !== data) plot.current.setData(data, false);
    drawn.current = data;
    frame(plot.current, data, range);
  }, [data, range?.[0], range?.[1]]);
  // Without paths: with them it would set the x scale again to what it was before the frame that is still to come.
  useEffect(() => plot.current?.redraw(false), [mark]);

  return <div class="plot" ref={box} aria-hidden="true" />;
}

/** Shows a part of the x axis, or all of it. */
function frame(plot: uPlot, data: uPlot.AlignedData, range: [number, number] | null | undefined): void {
  const xs = data[0];
  const [min, max] = range ?? [xs[0] ?? 0, xs[xs.length - 1] ?? 1];
  plot.setScale("x", { min, max: max > min ? max : min + 1 });
}

/** An axis in the colours of the theme. */
export function axis(extra: uPlot.Axis): uPlot.Axis {
  return {
    stroke: colour("muted"),
    grid: { stroke: colour("line"), width: 1 },
    ticks: { stroke: colour("line"), width: 1, size: 4 },
    font: '11px "Inter Variable", system-ui, sans-serif',
    ...extra,
  };
}

/** The x axis of all charts over time: UTC. */
export function timeAxis(): uPlot.Axis {
  return axis({
    space: 90,
    size: 28,
    values: (_, splits) => splits.map((s) => new Date(s * 1000).toISOString().slice(11, 19) + "Z"),
  });
}

export const utc = (seconds: number) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC");
