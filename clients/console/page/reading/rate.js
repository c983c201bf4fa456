/** How fast something grows, over the last seconds. */

const WINDOW_SECONDS = 6;

export class Rate {
  /** @type {{at: number, value: number}[]} */
  #samples = [];

  /**
   * @param {number} value that grows
   * @param {number} [at] in seconds
   */
  add(value, at = performance.now() / 1000) {
    const last = this.#samples.at(-1);
    // A restored session begins anew.
    if (last && value < last.value) this.#samples = [];
    this.#samples.push({ at, value });
    while (this.#samples.length > 2 && at - /** @type {{at: number}} */ (this.#samples[1]).at >= WINDOW_SECONDS) {
      this.#samples.shift();
    }
  }

  /** Units a second; 0 where nothing is known. */
  get perSecond() {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    return first && last && last.at > first.at ? (last.value - first.value) / (last.at - first.at) : 0;
  }

  /**
   * The time that so many units more will take; null where nothing moves.
   *
   * @param {number} units
   */
  secondsFor(units) {
    return this.perSecond > 0 ? units / this.perSecond : null;
  }
}
