// Who may look, who may act, and how one signs in.
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { artefacts, violations } from "../browser";
import { main, open, rail, shows, tab, url, world } from "../stage";

describe("roles", () => {
  it("of a viewer may look and not act", async () => {
    world.role = "viewer";
    await open("experiments");
    await shows("warm_welcome");
    await rail().getByText("Your role may look, not act.").waitFor();
    expect(await rail().getByRole("button").count()).toBe(0);
    for (const name of [/New experiment/, /Add arm/, /Delete/, /Edit greeting/]) expect(await main().getByRole("button", { name }).count()).toBe(0);
  });
  it("are asked for by a login where the engine wants one", async () => {
    world.failing.set("", 401);
    await tab.goto(url);
    await tab.getByLabel("Token").fill("wrong");
    await tab.getByRole("button", { name: "Sign in" }).click();
    await tab.getByText("This token is not known.").waitFor();
    expect(await violations(tab)).toEqual([]);
    await tab.screenshot({ path: join(artefacts, "login.png") });
    world.role = "operator";
    await tab.getByLabel("Token").fill("right");
    await tab.getByRole("button", { name: "Sign in" }).click();
    await tab.getByText("signed in as operator").waitFor();
    await tab.getByRole("heading", { level: 1, name: "Overview" }).waitFor();
    world.failing.set("", 401);
    await tab.getByText(/Your sign-in has ended: it lasts 12 hours/).waitFor({ timeout: 20_000 });
  });
});
