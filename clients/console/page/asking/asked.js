/** Puts a question and follows its answer, until there is one, or none can come. */

import { connection } from "../api/connection.js";
import { ApiError, Unreachable } from "../api/http.js";
import { pause } from "../api/pause.js";
import { ask } from "../api/questions.js";
import { clock } from "../format.js";
import { strings } from "../strings.js";

/** @typedef {import("./entries.js").Entry} Entry */

/**
 * A question changes nothing, so it is asked again when a server is back that went away.
 *
 * @param {string} session
 * @param {Entry} entry which is changed as the answer comes
 * @param {() => void} changed
 * @param {AbortSignal} signal
 */
export async function follow(session, entry, changed, signal) {
  while (entry.state === "asking" || entry.state === "waiting") {
    Object.assign(entry, { state: "asking", text: "", error: "" });
    changed();
    try {
      for await (const part of ask(session, entry.question, signal)) {
        if ("piece" in part) entry.text += part.piece;
        else Object.assign(entry, { state: "answered", answer: part.answer, text: part.answer.answer });
        changed();
      }
    } catch (error) {
      await wait(error, entry, changed, signal).catch(() => (entry.state = "stopped"));
    }
  }
  changed();
}

/**
 * Waits until it may be asked again; the entry's state says where it may not.
 *
 * @param {unknown} error
 * @param {Entry} entry
 * @param {() => void} changed
 * @param {AbortSignal} signal
 */
async function wait(error, entry, changed, signal) {
  signal.throwIfAborted();
  const again = error instanceof Unreachable || (error instanceof ApiError && error.temporary);
  entry.state = again ? "waiting" : "failed";
  entry.error = sentence(error, again);
  changed();
  if (error instanceof Unreachable) await connection.back(signal);
  else if (error instanceof ApiError && again) await pause(1000 * (error.retryAfterSeconds ?? 1), signal);
}

/**
 * @param {unknown} error
 * @param {boolean} again
 */
function sentence(error, again) {
  if (error instanceof Unreachable) return strings.questions.waiting(clock(connection.goneSince ?? Date.now()));
  const message = error instanceof Error ? error.message : String(error);
  return again ? strings.questions.busy(message) : message;
}
