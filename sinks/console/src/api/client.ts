// One request to the API: with a time limit, its answer checked against a schema, its failure classified.
import { signal } from "@preact/signals";
import * as v from "valibot";
import { noteEpoch } from "./clock";
import { texts } from "../texts";

export type FailureKind = "connection" | "timeout" | "server" | "login" | "forbidden" | "missing" | "conflict" | "refused" | "schema";

/** Why a request has no answer. What is retryable may succeed by itself. */
export class ApiError extends Error {
  readonly retryable: boolean;
  constructor(
    readonly kind: FailureKind,
    message: string,
    readonly status: number | null = null,
  ) {
    super(message);
    this.retryable = kind === "connection" || kind === "timeout" || kind === "server";
  }
}

export interface Answer<T> {
  data: T;
  /** Log time of the epoch that it is as of, ms. */
  epoch: number | null;
}

/** Set when the API asks for a login. */
export const loginNeeded = signal(false);
/** Where the API is. */
export const apiBase = new URL("api/v1/", typeof document === "undefined" ? "http://localhost/" : document.baseURI);

let timeoutMs = 5000;
export function setTimeoutMs(ms: number): void {
  timeoutMs = ms;
}

export function get<T>(path: string, schema: v.GenericSchema<unknown, T>, signal?: AbortSignal): Promise<Answer<T>> {
  return request("GET", path, schema, undefined, signal);
}

export function send<T>(method: string, path: string, schema: v.GenericSchema<unknown, T>, body?: unknown): Promise<Answer<T>> {
  return request(method, path, schema, body);
}

async function request<T>(
  method: string,
  path: string,
  schema: v.GenericSchema<unknown, T>,
  body: unknown,
  outer?: AbortSignal,
): Promise<Answer<T>> {
  const limit = AbortSignal.timeout(timeoutMs);
  const init: RequestInit = {
    method,
    credentials: "same-origin",
    headers: { accept: "application/json", ...(body === undefined ? {} : { "content-type": "application/json" }) },
    signal: outer ? AbortSignal.any([limit, outer]) : limit,
  };
  if (body !== undefined) init.body = JSON.stringify(body);
  let response: Response;
  let value: unknown;
  try {
    response = await fetch(new URL(path, apiBase), init);
    value = await readJson(response);
  } catch (error) {
    if (outer?.aborted) throw error;
    throw limit.aborted
      ? new ApiError("timeout", texts.failure.timeout(timeoutMs / 1000))
      : new ApiError("connection", texts.failure.connection);
  }
  const header = Number(response.headers.get("x-lsie-epoch") ?? Number.NaN);
  const epoch = Number.isFinite(header) && header > 0 ? header : null;
  if (epoch !== null) noteEpoch(epoch);
  if (!response.ok) throw failure(response.status, value);
  const read = v.safeParse(schema, value);
  if (!read.success) throw new ApiError("schema", texts.failure.schema(where(read.issues[0])), response.status);
  return { data: read.output, epoch };
}

async function readJson(response: Response): Promise<unknown> {
  const text = await response.text();
  try {
    return text === "" ? null : JSON.parse(text);
  } catch {
    return null;
  }
}

/** What a status means. */
export function failure(status: number, body: unknown): ApiError {
  const detail = described(body);
  if (status === 401) {
    loginNeeded.value = true;
    return new ApiError("login", texts.failure.login, status);
  }
  if (status === 403) return new ApiError("forbidden", texts.failure.forbidden, status);
  if (status === 404) return new ApiError("missing", detail || texts.failure.missing, status);
  if (status === 409) return new ApiError("conflict", detail || texts.failure.conflict, status);
  if (status >= 500) return new ApiError("server", detail || texts.failure.server(status), status);
  return new ApiError("refused", detail || texts.failure.refused(status), status);
}

/** `{"detail": …}` as one sentence: a text, or a list of {location, message}. */
function described(body: unknown): string {
  const detail = typeof body === "object" && body !== null && "detail" in body ? body.detail : null;
  if (typeof detail === "string") return detail;
  if (!Array.isArray(detail)) return "";
  const problems = detail.map((p: { location?: unknown[]; message?: unknown }) => `${p.location?.at(-1) ?? ""}: ${p.message ?? ""}`);
  return problems.join("; ");
}

function where(issue: v.BaseIssue<unknown> | undefined): string {
  return (issue && v.getDotPath(issue)) || "the whole answer";
}
