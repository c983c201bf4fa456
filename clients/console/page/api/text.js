/** Text of a session: appending at an offset, and reading a place of it again. */

import { body, json, send } from "./http.js";
import { at } from "./sessions.js";

/**
 * Appends bytes at an offset; bytes that the session has there already are recognised, not read twice.
 *
 * @param {string} id
 * @param {number} offset
 * @param {Blob} bytes
 * @param {string} document
 * @param {AbortSignal} signal
 * @returns {Promise<{accepted_bytes: number}>}
 */
export const append = (id, offset, bytes, document, signal) =>
  json(`${at(id)}/text`, {
    method: "PATCH",
    body: bytes,
    headers: { "Content-Type": "application/partial-upload", "Upload-Offset": String(offset) },
    query: { document },
    signal,
  });

/**
 * The text from an offset on, as far as its document goes.
 *
 * @param {string} id
 * @param {number} offset
 * @param {number} bytes
 * @returns {Promise<import("./types.js").TextRange>}
 */
export const range = (id, offset, bytes) => json(`${at(id)}/text`, { query: { offset, bytes } });

/**
 * The plain text of a file of another kind.
 *
 * @param {Blob} file
 * @param {string} name by whose ending the kind is known
 * @param {AbortSignal} signal
 * @returns {Promise<Blob>}
 */
export async function extract(file, name, signal) {
  const headers = { "Content-Type": "application/octet-stream" };
  const response = await send("v1/extract", { method: "POST", body: file, headers, query: { name }, signal });
  return body(response.blob());
}
