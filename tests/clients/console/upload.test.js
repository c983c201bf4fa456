/** An upload to a server that fails at random: what the session has at the end is the text, whatever failed. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { install, random } from "./browser_parts.js";
import { FailingServer, problem } from "./failing_server.js";

const database = install();
const { Upload, PIECE_BYTES, pieceOf } = await import("../../../clients/console/page/reading/upload.js");
const { keep, unfinished } = await import("../../../clients/console/page/reading/unfinished.js");

function drawn(next, length) {
  const text = Buffer.alloc(length);
  for (let at = 0; at < length; at += 4) text.writeUInt32LE(next() * 2 ** 32, Math.min(at, Math.max(0, length - 4)));
  return text;
}

/** Sends a text, and begins anew with what the browser has kept as often as the page is loaded again. */
async function sendAll(server, upload) {
  await keep(upload.of);
  for (;;) {
    const reloaded = new Promise((resolve) => {
      server.reload = () => void resolve(true);
    });
    if (!(await Promise.race([upload.run(), reloaded]))) return upload;
    const [kept] = await unfinished(upload.of.session);
    upload = new Upload(kept);
  }
}

test("every byte arrives once and in order, whatever fails", async () => {
  let failures = 0;
  for (let seed = 0; seed < 40; seed += 1) {
    const next = random(seed);
    const server = new FailingServer(next, 0.9 * next());
    globalThis.fetch = server.fetch;
    const before = drawn(next, Math.floor(next() * 100) * 4);
    server.text = before;
    server.safe = before.length;
    const text = drawn(next, 4 + Math.floor(next() * 5 * PIECE_BYTES));
    const upload = await sendAll(server, Upload.begin(`session ${seed}`, "a.txt", new Blob([text])));
    assert.equal(upload.state, "sent", `seed ${seed}: ${upload.error}`);
    assert.ok(server.text.equals(Buffer.concat([before, text])), `seed ${seed}: ${server.text.length} bytes`);
    assert.deepEqual(await unfinished(`session ${seed}`), []);
    failures += server.failures;
  }
  assert.ok(failures > 100);
});

test("a pause outlives a server that goes away", async () => {
  const text = drawn(random(1), 3 * PIECE_BYTES);
  const server = new FailingServer(random(1), 0);
  const upload = Upload.begin("s", "a.txt", new Blob([text]));
  let calls = 0;
  globalThis.fetch = async (url, request) => {
    if (request.method === "PATCH" && (calls += 1) === 2) {
      upload.pause();
      throw new TypeError("Failed to fetch");
    }
    return server.fetch(url, request);
  };
  const running = upload.run();
  while (calls < 2) await new Promise(setImmediate);
  for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate);
  assert.equal(upload.state, "paused");
  assert.equal(calls, 2);
  upload.resume();
  await running;
  assert.ok(server.text.equals(text));
});

test("other bytes in the middle end it, and nothing is sent after them", async () => {
  const server = new FailingServer(random(1), 0);
  globalThis.fetch = (url, request) => {
    if (server.text.length === PIECE_BYTES) server.text = Buffer.concat([server.text, Buffer.from("theirs")]);
    return server.fetch(url, request);
  };
  const text = drawn(random(1), 3 * PIECE_BYTES);
  const upload = Upload.begin("s", "a.txt", new Blob([text]));
  await upload.run();
  assert.equal(upload.error.code, "content_conflict");
  assert.equal(server.text.length, PIECE_BYTES + 6);
});

test("a piece ends with a whole character, and the last with the text", async () => {
  const next = random(1);
  const encoder = new TextEncoder();
  for (let trial = 0; trial < 200; trial += 1) {
    const signs = Array.from({ length: 8 }, () => [..."aé日🙂"][Math.floor(next() * 4)]).join("");
    const bytes = encoder.encode("x".repeat(PIECE_BYTES - 1 - Math.floor(next() * 8)) + signs);
    const piece = await pieceOf(new Blob([bytes]), 0);
    new TextDecoder("utf-8", { fatal: true }).decode(await piece.arrayBuffer());
    assert.ok(piece.size > Math.min(bytes.length, PIECE_BYTES) - 4);
    assert.equal((await pieceOf(new Blob([bytes]), piece.size)).size, bytes.length - piece.size);
  }
});

test("bytes that are no UTF-8 are sent all the same", async () => {
  const next = random(2);
  for (let trial = 0; trial < 200; trial += 1) {
    const text = new Blob([new Uint8Array(PIECE_BYTES), drawn(next, 8)]);
    assert.ok((await pieceOf(text, Math.floor(next() * 12))).size > PIECE_BYTES - 4);
  }
});

test("a file that cannot be read ends it, and the server is not waited for", async () => {
  globalThis.fetch = new FailingServer(random(1), 0).fetch;
  const text = new Blob(["text"]);
  text.slice = () => ({ arrayBuffer: () => Promise.reject(new DOMException("gone", "NotReadableError")) });
  const upload = Upload.begin("s", "a.txt", text);
  await upload.run();
  assert.equal(upload.state, "failed");
  assert.equal(upload.error.name, "NotReadableError");
});

test("a refusal that time does not mend ends it", async () => {
  globalThis.fetch = async () => problem(404, "session_not_found", {});
  const upload = Upload.begin("s", "a.txt", new Blob(["text"]));
  await upload.run();
  assert.equal(upload.state, "failed");
});

test("uploads are kept in the order in which they were begun, also within a millisecond", async () => {
  const names = Array.from({ length: 30 }, (_, number) => `${number}.txt`);
  for (const name of names) await keep(Upload.begin("order", name, new Blob(["text"])).of);
  assert.deepEqual(
    (await unfinished("order")).map((of) => of.document),
    names,
  );
});

test("a text that the browser has no room for is kept without its bytes", async () => {
  database.refuses = (record) => Boolean(record.text);
  const upload = Upload.begin("full", "a.txt", new Blob(["text"]));
  assert.equal(await keep(upload.of), true);
  const [kept] = await unfinished("full");
  assert.equal(new Upload(kept).state, "missing");
  database.refuses = () => true;
  assert.equal(await keep({ ...upload.of, key: "none" }), false);
  database.refuses = () => false;
});

test("a text of more than 256 MiB must be chosen again, and no other file is taken for it", async () => {
  const size = 256 * 1024 * 1024 + 1;
  await keep({ ...Upload.begin("large", "a.txt", new Blob(["text"])).of, size, modified: 5 });
  const [kept] = await unfinished("large");
  const upload = new Upload(kept);
  assert.equal(upload.state, "missing");
  assert.equal(upload.choose({ size, lastModified: 6 }), false);
  assert.equal(upload.choose({ size: size - 1, lastModified: 5 }), false);
  assert.equal(upload.choose({ size, lastModified: 5 }), true);
  assert.equal(upload.state, "queued");
});
