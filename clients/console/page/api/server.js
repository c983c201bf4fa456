/** What the server is and what it does now, from `/version` and `/metrics`. */

import { body, json, send } from "./http.js";

/** @typedef {import("./types.js").Version} Version */

/**
 * @typedef {object} Activity
 * @property {number} reading sessions
 * @property {number} answering questions
 * @property {number} waiting questions
 * @property {number} unreadBytes accepted text that is not read
 * @property {number} readTokens since the server started
 * @property {number | null} firstTokenSeconds median time to first token since the server started
 */

/**
 * A server without extractors, or of an earlier version, extracts nothing.
 *
 * @returns {Promise<Version>}
 */
export const version = async () => ({ extracts: [], ...(await json("version")) });

/** What the server does now; null where a gateway keeps the metrics to itself. */
export async function activity() {
  const response = await send("metrics").catch(() => null);
  return response && activityOf(samples(await body(response.text())));
}

/**
 * The samples of Prometheus' text format, by name and labels as they are written: `name{a="b"}`.
 *
 * @param {string} text
 */
export function samples(text) {
  /** @type {Map<string, number>} */
  const found = new Map();
  for (const line of text.split("\n")) {
    const end = line.lastIndexOf(" ");
    if (end > 0 && !line.startsWith("#")) found.set(line.slice(0, end), Number(line.slice(end + 1)));
  }
  return found;
}

/**
 * @param {Map<string, number>} all
 * @returns {Activity}
 */
function activityOf(all) {
  const value = (/** @type {string} */ name) => all.get(`onceread_${name}`) ?? 0;
  return {
    reading: value('num_requests_running{phase="read"}'),
    answering: value('num_requests_running{phase="answer"}'),
    waiting: value('num_requests_waiting{phase="answer"}'),
    unreadBytes: value("unread_bytes"),
    readTokens: value("read_tokens_total"),
    firstTokenSeconds: median(all, "onceread_time_to_first_token_seconds"),
  };
}

/**
 * The median of a histogram, by linear interpolation in its bucket; null where it is empty.
 *
 * @param {Map<string, number>} all
 * @param {string} name
 */
export function median(all, name) {
  const half = (all.get(`${name}_count`) ?? 0) / 2;
  let lower = 0;
  let below = 0;
  for (const [key, upTo] of all) {
    const bound = key.startsWith(`${name}_bucket{`)
      ? Number(/le="([^"]+)"/.exec(key)?.[1]?.replace("+Inf", "Infinity"))
      : NaN;
    if (Number.isNaN(bound)) continue;
    if (upTo >= half && upTo > below) {
      return Number.isFinite(bound) ? lower + ((bound - lower) * (half - below)) / (upTo - below) : lower;
    }
    lower = bound;
    below = upTo;
  }
  return null;
}
