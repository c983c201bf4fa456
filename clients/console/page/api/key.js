/** The API key: in memory, and in sessionStorage where the user wants it to outlive a reload of this tab. */

const NAME = "onceread-key";

let key = sessionStorage.getItem(NAME);
/** @type {(refused: boolean) => Promise<string | null>} */
let ask = async () => null;
/** @type {Promise<boolean> | null} */
let asking = null;

/** The headers that carry the key; none without one. @returns {Record<string, string>} */
export const keyHeaders = () => (key ? { Authorization: `Bearer ${key}` } : {});

/** Whether a key is in use. */
export const hasKey = () => key !== null;

/**
 * Names the dialog that asks for a key; it resolves to null where the user gives none.
 *
 * @param {(refused: boolean) => Promise<string | null>} dialog
 */
export function askWith(dialog) {
  ask = dialog;
}

/**
 * Uses a key from now on; null forgets it.
 *
 * @param {string | null} value
 * @param {boolean} [keep] in sessionStorage, which the browser clears with the tab
 */
export function useKey(value, keep = false) {
  key = value;
  if (value !== null && keep) sessionStorage.setItem(NAME, value);
  else sessionStorage.removeItem(NAME);
}

/**
 * After a 401: whether there is another key to try. All requests that fail together share one dialog.
 *
 * @param {Record<string, string>} used the headers that were refused
 */
export async function renewed(used) {
  if (used.Authorization !== keyHeaders().Authorization) return true;
  asking ??= ask(key !== null)
    .then((given) => given !== null)
    .finally(() => {
      asking = null;
    });
  return asking;
}
