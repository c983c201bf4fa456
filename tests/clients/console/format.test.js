/** Sizes and durations: three digits, in order, and near the number that they stand for. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { bytes, count, duration, percent } from "../../../clients/console/page/format.js";
import { random } from "./browser_parts.js";

const SCALE = { B: 1, kB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 };
const TIME = { ms: 0.001, s: 1, min: 60, h: 3600 };

/** Numbers of all magnitudes up to 10^`digits`, in order. */
function numbers(digits, seed = 1) {
  const next = random(seed);
  const edges = Array.from({ length: digits }, (_, power) => [10 ** power - 1, 10 ** power, 10 ** power + 1]).flat();
  const drawn = Array.from({ length: 5000 }, () => 10 ** (next() * digits));
  return [...edges, ...drawn].sort((a, b) => a - b);
}

const meant = (shown) => {
  const [value, unit] = shown.split(" ");
  return Number(value) * SCALE[unit];
};

const seconds = (shown) =>
  Array.from(shown.matchAll(/(\d+) (\w+)/g), ([, value, unit]) => Number(value) * TIME[unit]).reduce((a, b) => a + b);

test("a size has at most three digits and is wrong by at most half of the last", () => {
  for (const exact of numbers(14).map(Math.round)) {
    const shown = bytes(exact);
    assert.match(shown, /^(\d|\d\d|\d\d\d|\d\.\d|\d\.\d\d|\d\d\.\d) (B|kB|MB|GB|TB)$/, `${exact}`);
    assert.ok(Math.abs(meant(shown) - exact) <= 0.0051 * exact, `${exact} is shown as ${shown}`);
  }
});

test("a larger size is never shown as a smaller one", () => {
  let before = 0;
  for (const exact of numbers(14).map(Math.round)) {
    const now = meant(bytes(exact));
    assert.ok(now >= before, `${exact}`);
    before = now;
  }
});

test("a duration has at most two units, is in order, and is wrong by at most its smaller unit", () => {
  let before = 0;
  for (const exact of numbers(6).map((number) => number / 10)) {
    const shown = duration(exact);
    assert.match(shown, /^(\d{1,3} ms|\d\d? s|\d\d? min \d\d? s|\d+ h \d\d? min)$/, `${exact}`);
    const now = seconds(shown);
    assert.ok(now >= before, `${exact} is shown as ${shown}`);
    assert.ok(Math.abs(now - exact) <= (exact >= 3599 ? 60 : exact >= 1 ? 0.5 : 0.0005) + 1e-9, `${exact}: ${shown}`);
    before = now;
  }
});

test("a percentage reaches 100 only where all is done", () => {
  const next = random(2);
  for (let trial = 0; trial < 1000; trial += 1) {
    const whole = 1 + Math.floor(next() * 1e9);
    const part = Math.floor(next() * whole);
    assert.ok(Number.parseInt(percent(part, whole), 10) < 100);
    assert.equal(percent(whole, whole), "100 %");
  }
  assert.equal(percent(0, 0), "100 %");
});

test("a count is whole, with its thousands apart", () => {
  assert.equal(count(1234567.4), "1,234,567");
});
