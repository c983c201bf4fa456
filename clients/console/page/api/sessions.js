/** Sessions, their copies and their memory as a file. */

import { body, json, segment, send } from "./http.js";

/** @typedef {import("./types.js").Session} Session */
/** @typedef {import("./types.js").Snapshot} Snapshot */

const SESSIONS = "v1/sessions";
/** @param {string} id */
export const at = (id) => `${SESSIONS}/${segment(id)}`;

/**
 * A page of the sessions, newest first.
 *
 * @param {string | null} after the last id of the page before
 * @param {boolean} [background]
 * @returns {Promise<{data: Session[], has_more: boolean, last_id: string | null}>}
 */
export const list = (after, background) => json(SESSIONS, { query: { limit: 100, after }, background });

/**
 * @param {string} id
 * @param {AbortSignal} [signal]
 * @param {boolean} [background]
 * @returns {Promise<Session>}
 */
export const get = (id, signal, background) => json(at(id), { signal, background });

/**
 * @param {string} title
 * @returns {Promise<Session>}
 */
export const create = (title) => json(SESSIONS, { method: "POST", json: { metadata: title ? { title } : {} } });

/**
 * @param {Session} session
 * @param {string} title of the copy
 * @returns {Promise<Session>}
 */
export const fork = (session, title) =>
  json(SESSIONS, { method: "POST", json: { metadata: titled(session, title), from: { session: session.id } } });

/**
 * @param {Session} session
 * @param {string} title empty for none
 * @returns {Promise<Session>}
 */
export const rename = (session, title) =>
  json(at(session.id), { method: "PATCH", json: { metadata: titled(session, title) } });

/** @param {string} id */
export const remove = (id) => send(at(id), { method: "DELETE" });

/**
 * @param {string} id
 * @returns {Promise<Snapshot[]>}
 */
export const snapshots = async (id) => (await json(`${at(id)}/snapshots`)).data;

/**
 * @param {string} id
 * @param {string} name
 * @returns {Promise<Snapshot>}
 */
export const takeSnapshot = (id, name) => json(`${at(id)}/snapshots`, { method: "POST", json: { name } });

/**
 * @param {string} id
 * @param {string} name
 */
export const removeSnapshot = (id, name) => send(`${at(id)}/snapshots/${segment(name)}`, { method: "DELETE" });

/**
 * @param {string} id
 * @param {string} snapshot
 * @returns {Promise<Session>}
 */
export const restore = (id, snapshot) => json(`${at(id)}/restore`, { method: "POST", json: { snapshot } });

/**
 * The memory as a file.
 *
 * @param {string} id
 */
export const download = async (id) => body((await send(`${at(id)}/memory`)).blob());

/**
 * A new session with the memory of a file.
 *
 * @param {File} file
 * @returns {Promise<Session>}
 */
export async function upload(file) {
  const id = randomId();
  const headers = { "Content-Type": "application/octet-stream" };
  const session = await json(`${at(id)}/memory`, { method: "PUT", body: file, headers });
  return rename(session, session.metadata.title ?? file.name.replace(/\.safetensors$/i, ""));
}

/**
 * @param {Session} session
 * @param {string} title
 */
function titled(session, title) {
  const { title: _, ...others } = session.metadata;
  return title ? { ...others, title } : others;
}

function randomId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `sess_${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
