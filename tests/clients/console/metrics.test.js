/** The figures that the page takes from the server's metrics. */

import assert from "node:assert";
import { test } from "node:test";

import { random } from "./browser_parts.js";

globalThis.sessionStorage = { getItem: () => null };
const { median, samples } = await import("../../../clients/console/page/api/server.js");

const BOUNDS = [0.1, 0.5, 1, 2, 5, Infinity];

/** A histogram of some values in Prometheus' text format. */
function histogram(values) {
  const upTo = (bound) => values.filter((value) => value <= bound).length;
  const buckets = BOUNDS.map((bound) => `x_bucket{le="${bound === Infinity ? "+Inf" : bound}"} ${upTo(bound)}.0`);
  return ["# TYPE x histogram", ...buckets, `x_count ${values.length}.0`, 'y{a="b c"} 3.0'].join("\n");
}

test("samples are found by name and labels", () => {
  assert.deepEqual(
    [...samples('# HELP a b\na 1.0\ny{a="b c"} 2e+06\n')],
    [
      ["a", 1],
      ['y{a="b c"}', 2e6],
    ],
  );
});

test("the median lies in the bucket of the middle value", () => {
  const next = random(1);
  for (let turn = 0; turn < 300; turn += 1) {
    const values = Array.from({ length: 1 + (turn % 40) }, () => 8 * next() ** 3);
    const middle = [...values].sort((a, b) => a - b)[Math.ceil(values.length / 2) - 1];
    const found = median(samples(histogram(values)), "x");
    const upper = BOUNDS.find((bound) => middle <= bound);
    const lower = [0, ...BOUNDS].filter((bound) => bound < middle).at(-1);
    // Nothing is known of the last bucket but where it begins.
    assert.ok(
      upper === Infinity ? found === lower : found > lower - 1e-9 && found < upper + 1e-9,
      `${found}: ${values}`,
    );
  }
});

test("an empty histogram has no median", () => {
  assert.equal(median(samples(histogram([])), "x"), null);
});
