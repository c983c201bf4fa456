/** The texts of a session, one after another, also where two tabs have them. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { install, random } from "./browser_parts.js";
import { FailingServer, problem } from "./failing_server.js";

install();
const PAGE = "../../../clients/console/page/reading";
const { PIECE_BYTES } = await import(`${PAGE}/upload.js`);
const first = await import(`${PAGE}/queue.js`);
// A module of its own, as another tab has it; what the browser keeps and its locks are the same.
const second = await import(`${PAGE}/queue.js?second`);

/** @param {string} name @param {number} length */
const file = (name, length) => new File([Buffer.alloc(length, `${name} `)], name, { lastModified: 1 });

/** Resolves when no text is on its way. */
async function idle(queue) {
  while (queue.active) await new Promise(setImmediate);
}

async function joined(files) {
  return Buffer.concat(await Promise.all(files.map(async (each) => Buffer.from(await each.arrayBuffer()))));
}

/** @param {FailingServer} server @param {string[]} [extracts] */
function serve(server, extracts) {
  server.reload = () => {
    throw new TypeError("Failed to fetch");
  };
  globalThis.fetch = (url, request) => (url === "version" ? Response.json({ extracts }) : server.fetch(url, request));
}

test("two tabs with the same texts double no byte and change no order", async () => {
  for (let seed = 0; seed < 20; seed += 1) {
    const next = random(seed);
    const server = new FailingServer(next, seed % 2 ? 0.4 : 0);
    server.safe = Infinity;
    serve(server);
    const files = Array.from("abc", (name) => file(name, 1 + Math.floor(next() * 3 * PIECE_BYTES)));
    const tab = first.Queue.of(`two ${seed}`);
    await tab.add(files);
    const other = second.Queue.of(`two ${seed}`);
    await Promise.all([idle(tab), idle(other)]);
    while (other.uploads.some((upload) => !upload.over)) await new Promise(setImmediate);
    assert.ok(server.text.equals(await joined(files)), `seed ${seed}: ${server.text.length} bytes`);
  }
});

test("a text is not sent before its turn, and a pause holds those behind it", async () => {
  const server = new FailingServer(random(1), 0);
  serve(server);
  const queue = first.Queue.of("pause");
  const files = [file("a", PIECE_BYTES), file("b", 10)];
  queue.addEventListener("change", () => queue.uploads[0]?.state === "queued" && queue.uploads[0].pause());
  await queue.add(files);
  for (let turn = 0; turn < 100; turn += 1) await new Promise(setImmediate);
  assert.equal(server.text.length, 0);
  queue.uploads[0].resume();
  await idle(queue);
  assert.ok(server.text.equals(await joined(files)));
});

test("decoded text goes on after its ASCII beginning, behind what came between", async () => {
  const plain = "plain ".repeat(1000);
  let text = "";
  globalThis.fetch = async (url, { method, body, headers } = {}) => {
    if (url === "version") return Response.json({ extracts: [] });
    if (method !== "PATCH") return Response.json({ text: { accepted_bytes: text.length } });
    const sent = Buffer.from(await body.arrayBuffer()).toString("latin1");
    if (sent.includes("\xfc") && !sent.includes("\xc3")) {
      text += plain;
      const encoding = "WINDOWS-1252";
      return problem(400, "invalid_utf8", { expected_offset: text.length, encoding });
    }
    assert.equal(Number(headers["Upload-Offset"]), text.length);
    text += sent;
    return Response.json({ accepted_bytes: text.length });
  };
  const queue = first.Queue.of("decode");
  await queue.add([new File([Buffer.from(`${plain}M\xfcller`, "latin1")], "old.txt"), file("b", 10)]);
  await idle(queue);
  const [failed] = queue.uploads;
  assert.equal(failed.state, "failed");
  await Promise.all([queue.decode(failed, "WINDOWS-1252"), queue.decode(failed, "WINDOWS-1252")]);
  await idle(queue);
  assert.equal(Buffer.from(text, "latin1").toString(), `${plain}${"b ".repeat(5)}Müller`);
});

test("a server that extracts nothing is sent plain text only, whether it says so or not", async () => {
  for (const extracts of [undefined, []]) {
    const server = new FailingServer(random(1), 0);
    serve(server, extracts);
    const queue = first.Queue.of(`kinds ${extracts}`);
    await queue.add([file("a.pdf", 10), file("empty.txt", 0), file("b.md", 10)]);
    await idle(queue);
    assert.deepEqual(
      queue.uploads.map((upload) => upload.state),
      ["failed", "failed", "sent"],
    );
    assert.match(queue.uploads[0].error.message, /cannot read \.pdf files/);
    assert.equal(server.text.length, 10);
  }
});

test("an extracted text is sent, and a file without text is refused", async () => {
  const server = new FailingServer(random(1), 0);
  serve(server, ["docx"]);
  const { fetch } = globalThis;
  globalThis.fetch = (url, request) =>
    url.startsWith("v1/extract") ? new Response(url.endsWith("name=a.docx") ? "Its text." : "") : fetch(url, request);
  const queue = first.Queue.of("extract");
  await queue.add([file("a.docx", 1000), file("none.docx", 1000)]);
  await idle(queue);
  assert.deepEqual(
    queue.uploads.map((upload) => upload.state),
    ["sent", "failed"],
  );
  assert.equal(server.text.toString(), "Its text.");
});
