/** Uploads that are not finished, so that a reload of the page can go on with them. */

const DATABASE = "onceread";
const UPLOADS = "uploads";
const PROGRESS = "progress";
// A larger file is not copied into the browser's storage: after a reload it must be chosen again.
const COPIED_BYTES_MAX = 256 * 1024 * 1024;

/**
 * @typedef {object} Unfinished
 * @property {string} key
 * @property {string} session
 * @property {string} document
 * @property {boolean} extract whether `text` is a file whose text the server extracts first
 * @property {number} start offset in the session; -1 until the first byte is sent
 * @property {number} size of `text` in bytes
 * @property {number} modified when the file was last changed, in milliseconds since 1970; 0 for a text without a file
 * @property {number} sent bytes that are durable
 * @property {Blob | null} text null where the file must be chosen again
 */

/** @type {Promise<IDBDatabase> | null} */
let opened = null;

/**
 * Keeps an upload and its text; false where the browser does not.
 *
 * @param {Unfinished} upload
 */
export async function keep(upload) {
  const text = upload.size <= COPIED_BYTES_MAX ? upload.text : null;
  // Where the storage has no room for the text, its file must be chosen again.
  const kept =
    (await put(UPLOADS, upload.key, { ...upload, text })) ||
    (await put(UPLOADS, upload.key, { ...upload, text: null }));
  await progressed(upload);
  return kept;
}

/**
 * Notes how far an upload is, without its text.
 *
 * @param {Unfinished} upload
 */
export async function progressed({ key, start, sent }) {
  await put(PROGRESS, key, { start, sent });
}

/** @param {string} key */
export async function forget(key) {
  for (const name of [UPLOADS, PROGRESS]) {
    await store(name, "readwrite").then(
      (records) => done(records.delete(key)),
      () => undefined,
    );
  }
}

/**
 * The unfinished uploads of a session, in the order in which they were begun.
 *
 * @param {string} session
 * @returns {Promise<Unfinished[]>}
 */
export async function unfinished(session) {
  const all = await done((await store(UPLOADS, "readonly")).getAll());
  const mine = all.filter((upload) => upload.session === session);
  const progress = await store(PROGRESS, "readonly");
  return Promise.all(mine.map(async (upload) => ({ ...upload, ...(await done(progress.get(upload.key))) })));
}

/**
 * Whether the browser has kept a record. Where it has no room or keeps nothing, an upload goes on all the same, until
 * the page is loaded again.
 *
 * @param {string} name
 * @param {string} key
 * @param {object} record
 */
async function put(name, key, record) {
  try {
    await done((await store(name, "readwrite")).put(record, key));
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {string} name
 * @param {IDBTransactionMode} mode
 */
async function store(name, mode) {
  opened ??= open();
  return (await opened).transaction(name, mode).objectStore(name);
}

/** @returns {Promise<IDBDatabase>} */
function open() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => {
    for (const name of [UPLOADS, PROGRESS]) request.result.createObjectStore(name);
  };
  return done(request);
}

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
