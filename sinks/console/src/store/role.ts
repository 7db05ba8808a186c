// Who is signed in and what they may do. An engine without tokens lets everyone on its machine act.
import { signal } from "@preact/signals";
import * as v from "valibot";
import { ApiError, failure, get, loginNeeded } from "../api/client";

const Who = v.object({ name: v.string(), role: v.nullable(v.picklist(["viewer", "operator", "ingest"])) });
type Role = v.InferOutput<typeof Who>["role"];

/** The role; null where the engine asks for no token. */
export const role = signal<Role>(null);

/** Who was signed in here and did not sign out is told so at the next sign-in. */
const KEY = "lsie.signed-in";

export function wasSignedIn(): boolean {
  try {
    return sessionStorage.getItem(KEY) !== null;
  } catch {
    return false;
  }
}

function remember(signedIn: boolean): void {
  try {
    if (signedIn) sessionStorage.setItem(KEY, "1");
    else sessionStorage.removeItem(KEY);
  } catch {
    // Without storage it is not told.
  }
}

/** Whether actions are offered. The engine refuses them anyway to whom they are not allowed. */
export const mayAct = () => role.value === null || role.value === "operator";

export async function loadRole(): Promise<void> {
  try {
    role.value = (await get("../../whoami", Who)).data.role;
    if (role.value !== null) remember(true);
  } catch (error) {
    if (!(error instanceof ApiError && error.kind === "login")) role.value = null;
  }
}

/** Trades a token for a session cookie. */
export async function signIn(token: string): Promise<void> {
  const body = new URLSearchParams({ token });
  const response = await fetch(new URL("login", document.baseURI), { method: "POST", body, credentials: "same-origin", redirect: "manual" });
  // Let in, the engine sends a browser on to the console.
  if (response.type !== "opaqueredirect" && !response.ok) throw failure(response.status, null);
  loginNeeded.value = false;
  await loadRole();
}

export async function signOut(): Promise<void> {
  await fetch(new URL("logout", document.baseURI), { method: "POST", credentials: "same-origin", redirect: "manual" });
  role.value = null;
  remember(false);
  loginNeeded.value = true;
}
