/** Texts in other encodings. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { decoded, isDecodable } from "../../../clients/console/page/reading/decoding.js";
import { random } from "./browser_parts.js";

const SIGNS = "abc äöüß ÉŒ€ “”–\n";

function text(next, signs) {
  return Array.from({ length: 1 + Math.floor(next() * 100_000) }, () => signs[Math.floor(next() * signs.length)]).join(
    "",
  );
}

test("UTF-16 comes back as it was, with and without a mark, however long it is", async () => {
  const next = random(1);
  for (let trial = 0; trial < 10; trial += 1) {
    const written = text(next, [...SIGNS, "日", "🙂"]);
    const units = Buffer.from(`${trial % 2 ? "\ufeff" : ""}${written}`, "utf16le");
    assert.equal(await (await decoded(new Blob([units]), "UTF-16LE")).text(), written);
    assert.equal(await (await decoded(new Blob([units.swap16()]), "UTF-16BE")).text(), written);
  }
});

test("Windows-1252 becomes the signs that its bytes stand for", async () => {
  const bytes = Buffer.from([0x4d, 0xfc, 0x6c, 0x6c, 0x65, 0x72, 0x20, 0x93, 0x80, 0x94]);
  assert.equal(await (await decoded(new Blob([bytes]), "WINDOWS-1252")).text(), "Müller “€”");
});

test("browsers have no UTF-32", () => {
  assert.ok(isDecodable("WINDOWS-1252"));
  assert.ok(!isDecodable("UTF-32LE"));
  assert.ok(!isDecodable(undefined));
});
