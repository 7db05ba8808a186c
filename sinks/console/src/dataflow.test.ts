// Which operator holds the frontier.
import { describe, expect, it } from "vitest";
import { standings } from "./dataflow";

const operator = (name: string, second: number | null, backlog = 0) => ({
  worker: 0,
  operator: name,
  frontier_utc: second === null ? null : `2026-01-05T10:00:0${second}Z`,
  backlog,
});

describe("the standings of operators", () => {
  it("are in the order of the graph, with the lag behind the furthest", () => {
    const [first, second, third] = standings([operator("rows 2", 3), operator("measure", 3), operator("decode", 5)]);
    expect([first?.operator.operator, second?.operator.operator, third?.operator.operator]).toEqual(["decode", "measure", "rows 2"]);
    expect([first?.lagMs, second?.lagMs]).toEqual([0, 2000]);
  });
  it("mark the one with a backlog among those furthest behind", () => {
    const list = standings([operator("decode", 5), operator("align", 3), operator("infer", 3, 7), operator("measure", 3)]);
    expect(list.filter((s) => s.holds).map((s) => s.operator.operator)).toEqual(["infer"]);
  });
  it("mark the first where none has a backlog, and none where all are equally far", () => {
    expect(standings([operator("decode", 5), operator("align", 3), operator("measure", 3)]).find((s) => s.holds)?.operator.operator).toBe("align");
    expect(standings([operator("decode", 3), operator("align", 3)]).some((s) => s.holds)).toBe(false);
  });
  it("have no lag where nothing comes any more", () => expect(standings([operator("decode", null)])[0]?.lagMs).toBeNull());
});
