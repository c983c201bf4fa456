/** What was asked of a session in this tab, kept until the tab is closed. */

/**
 * @typedef {object} Entry
 * @property {string} question
 * @property {"asking" | "waiting" | "answered" | "stopped" | "failed"} state
 * @property {string} text what was written so far
 * @property {import("../api/types.js").Answer | null} answer
 * @property {string} error a sentence; why it waits or failed
 */

const ENTRIES_MAX = 50;
const name = (/** @type {string} */ session) => `onceread-asked-${session}`;

/**
 * The entries of a session, oldest first.
 *
 * @param {string} session
 * @returns {Entry[]}
 */
export function loadEntries(session) {
  /** @type {Entry[]} */
  const entries = JSON.parse(sessionStorage.getItem(name(session)) ?? "[]");
  // No answer comes any more for what was asked before a reload.
  for (const entry of entries) if (entry.state === "asking" || entry.state === "waiting") entry.state = "stopped";
  return entries;
}

/**
 * @param {string} session
 * @param {Entry[]} entries
 */
export function saveEntries(session, entries) {
  try {
    sessionStorage.setItem(name(session), JSON.stringify(entries.slice(-ENTRIES_MAX)));
  } catch {
    // The tab's storage is full: the entries stay on the page until it is reloaded.
  }
}

/** @param {string} session */
export function forgetEntries(session) {
  sessionStorage.removeItem(name(session));
}
