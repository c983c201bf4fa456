/** What a browser has and node has not, as far as the modules under test use it; and a seeded random generator. */

/** Storage for `api/key.js`. */
class Storage {
  #entries = new Map();
  getItem = (name) => this.#entries.get(name) ?? null;
  setItem = (name, value) => void this.#entries.set(name, value);
  removeItem = (name) => void this.#entries.delete(name);
}

/** IndexedDB with one database in memory; `refuses` says which records it has no room for. */
export class FakeIndexedDb {
  stores = new Map();
  refuses = () => false;

  open() {
    const request = {
      result: { createObjectStore: (name) => this.stores.set(name, new Map()), transaction: this.#transaction },
    };
    setTimeout(() => {
      request.onupgradeneeded();
      request.onsuccess();
    });
    return request;
  }

  #transaction = (name) => ({
    objectStore: () => {
      const records = this.stores.get(name);
      return {
        get: (key) => answered(() => records.get(key)),
        getAll: () => answered(() => [...records.keys()].sort().map((key) => records.get(key))),
        delete: (key) => answered(() => records.delete(key)),
        put: (record, key) =>
          answered(() => {
            if (this.refuses(record)) throw new DOMException("no room", "QuotaExceededError");
            records.set(key, record);
          }),
      };
    },
  });
}

function answered(action) {
  const request = {};
  setImmediate(() => {
    try {
      request.result = action();
      request.onsuccess();
    } catch (error) {
      request.error = error;
      request.onerror();
    }
  });
  return request;
}

/** Makes them global, before a module that uses them is imported; waiting takes no time. Returns the database. */
export function install() {
  const indexedDb = new FakeIndexedDb();
  const parts = {
    indexedDB: indexedDb,
    sessionStorage: new Storage(),
    setTimeout: (action) => setImmediate(action),
    clearTimeout: clearImmediate,
  };
  for (const [name, value] of Object.entries(parts)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  return indexedDb;
}

/**
 * Random numbers in [0, 1) from a seed: mulberry32.
 *
 * @param {number} seed
 */
export function random(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
