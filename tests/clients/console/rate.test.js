/** How fast something grows. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Rate } from "../../../clients/console/page/reading/rate.js";
import { random } from "./browser_parts.js";

const near = (a, b) => assert.ok(Math.abs(a - b) <= 1e-6 * Math.max(1, Math.abs(b)), `${a} is not ${b}`);

test("what grows evenly has its speed, however often it is looked at", () => {
  const next = random(1);
  for (let trial = 0; trial < 200; trial += 1) {
    const speed = 1 + next() * 1e6;
    const rate = new Rate();
    let at = next() * 1000;
    for (let look = 0; look < 2 + 50 * next(); look += 1) rate.add(speed * (at += 0.01 + next()), at);
    near(rate.perSecond, speed);
    near(rate.secondsFor(10 * speed), 10);
  }
});

test("the speed lies between the slowest and the fastest of the last seconds", () => {
  const next = random(2);
  const rate = new Rate();
  const speeds = [];
  for (let at = 0, value = 0; at < 300; at += 1) {
    rate.add(value, at);
    if (speeds.length) {
      const last = speeds.slice(-6);
      assert.ok(rate.perSecond >= Math.min(...last) - 1e-9 && rate.perSecond <= Math.max(...last) + 1e-9);
    }
    speeds.push(next() * 100);
    value += speeds.at(-1);
  }
});

test("what stands still for some seconds has no speed and no end", () => {
  const rate = new Rate();
  rate.add(0, 0);
  rate.add(100, 1);
  for (let at = 2; at <= 8; at += 1) rate.add(100, at);
  assert.equal(rate.perSecond, 0);
  assert.equal(rate.secondsFor(1), null);
});

test("nothing is known before the second look", () => {
  const rate = new Rate();
  assert.equal(rate.perSecond, 0);
  rate.add(5, 1);
  assert.equal(rate.secondsFor(1), null);
});

test("a value that falls begins anew", () => {
  const rate = new Rate();
  rate.add(1000, 0);
  rate.add(2000, 1);
  rate.add(0, 2);
  assert.equal(rate.perSecond, 0);
  rate.add(10, 3);
  assert.equal(rate.perSecond, 10);
});
