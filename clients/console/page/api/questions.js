/** Questions. */

import { events } from "./events.js";
import { ApiError, brokenOff, send } from "./http.js";
import { at } from "./sessions.js";

const SOURCES = 4;
const ANSWER_TOKENS = 128;
// A stream has no header for it once it has begun.
const RETRY_SECONDS = 5;

/**
 * The body of a question.
 *
 * @param {string} question
 */
export const query = (question) => ({ question, max_tokens: ANSWER_TOKENS, sources: SOURCES });

/**
 * The pieces of an answer as they are written, and at the end the whole answer.
 *
 * @param {string} id
 * @param {string} question
 * @param {AbortSignal} signal
 * @returns {AsyncGenerator<{piece: string} | {answer: import("./types.js").Answer}>}
 */
export async function* ask(id, question, signal) {
  const json = { ...query(question), stream: true };
  const response = await send(`${at(id)}/queries`, { method: "POST", json, signal });
  for await (const { name, data } of events(/** @type {ReadableStream<BufferSource>} */ (response.body))) {
    if (name === "delta") yield { piece: data.text };
    else if (name === "error") throw new ApiError(data.status, data, RETRY_SECONDS);
    else if (name === "done") {
      yield { answer: data };
      return;
    }
  }
  throw brokenOff();
}
