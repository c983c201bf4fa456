/** Requests to the server that this page came from. */

import { connection } from "./connection.js";
import { keyHeaders, renewed } from "./key.js";

// A gateway whose server is gone.
const GATEWAY_FAILURES = new Set([502, 504]);

/** The server refused a request; `detail` says what happened and what to do. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{detail?: string, expected_offset?: number, encoding?: string, error?: {code?: string}}} body of application/problem+json
   * @param {number} [retryAfterSeconds]
   */
  constructor(status, body, retryAfterSeconds) {
    super(body.detail ?? `The server answered with status ${status}.`);
    this.status = status;
    this.code = body.error?.code ?? "unknown";
    this.expectedOffset = body.expected_offset;
    this.encoding = body.encoding;
    this.retryAfterSeconds = retryAfterSeconds;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return (
      (this.status === 429 || this.status === 503) &&
      this.retryAfterSeconds !== undefined &&
      this.retryAfterSeconds < 600
    );
  }
}

/** No answer came: the server, or the way to it, is gone. */
export class Unreachable extends Error {}

/**
 * @typedef {object} Request
 * @property {string} [method]
 * @property {BodyInit | null} [body]
 * @property {unknown} [json] sent as the body
 * @property {Record<string, string>} [headers]
 * @property {Record<string, string | number | null | undefined>} [query]
 * @property {AbortSignal} [signal]
 * @property {boolean} [background] nobody waits for it: a key that is refused is not asked for
 */

/**
 * The response to a request; `ApiError` for a refusal, `Unreachable` for none. A key that is refused is asked for.
 *
 * @param {string} path relative to the page, such as `v1/sessions`
 * @param {Request} [request]
 */
export async function send(path, request = {}) {
  for (;;) {
    const key = keyHeaders();
    const response = await fetched(path, request, key);
    if (response.ok) return response;
    if (GATEWAY_FAILURES.has(response.status)) throw brokenOff();
    if (response.status !== 401 || request.background || !(await renewed(key))) throw await refusal(response);
  }
}

/**
 * The JSON body of the response to a request.
 *
 * @param {string} path
 * @param {Request} [request]
 * @returns {Promise<any>}
 */
export async function json(path, request) {
  const response = await send(path, request);
  return body(response.json());
}

/**
 * What a response's body resolves to; `Unreachable` where it breaks off.
 *
 * @template T
 * @param {Promise<T>} reading
 */
export async function body(reading) {
  try {
    return await reading;
  } catch (error) {
    throw error instanceof DOMException && error.name === "AbortError" ? error : brokenOff();
  }
}

/**
 * One segment of a path.
 *
 * @param {string} name
 */
export const segment = (name) => encodeURIComponent(name);

/**
 * @param {string} path
 * @param {Request} request
 * @param {Record<string, string>} key
 */
async function fetched(path, { method = "GET", body, json, headers, query = {}, signal }, key) {
  const fields = Object.entries(query).flatMap(([name, value]) => (value == null ? [] : [[name, String(value)]]));
  const url = fields.length ? `${path}?${new URLSearchParams(fields)}` : path;
  /** @type {Record<string, string>} */
  const typed = json === undefined ? {} : { "Content-Type": "application/json" };
  try {
    const response = await fetch(url, {
      method,
      body: json === undefined ? body : JSON.stringify(json),
      headers: { ...typed, ...headers, ...key },
      signal,
      cache: "no-store",
      credentials: "omit",
    });
    if (!GATEWAY_FAILURES.has(response.status)) connection.answered();
    return response;
  } catch (error) {
    signal?.throwIfAborted();
    throw brokenOff();
  }
}

/** The error for an answer that did not come, or not whole; from now on the server counts as gone. */
export function brokenOff() {
  connection.failed();
  return new Unreachable("The server does not answer.");
}

/** @param {Response} response */
async function refusal(response) {
  const after = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const body = await response.json().catch(() => ({}));
  return new ApiError(response.status, body, Number.isNaN(after) ? undefined : after);
}
