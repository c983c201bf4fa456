/** Sizes, counts, times and durations as people read them. */

const UNITS = ["B", "kB", "MB", "GB", "TB"];
const COUNT = new Intl.NumberFormat("en");
const SHORT_COUNT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const CLOCK = new Intl.DateTimeFormat("en", { hour: "2-digit", minute: "2-digit", hour12: false });
const DATE = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "short", hour12: false });

/**
 * A size with three digits: `467 kB`.
 *
 * @param {number} count of bytes
 */
export function bytes(count) {
  let unit = 0;
  let value = count;
  // 999.5 would be shown as 1000.
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  const digits = unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  return `${Number(value.toFixed(digits))} ${UNITS[unit]}`;
}

/** @param {number} value */
export const count = (value) => COUNT.format(Math.round(value));

/** @param {number} value */
export const shortCount = (value) => SHORT_COUNT.format(value);

/**
 * @param {number} part
 * @param {number} whole
 */
export const percent = (part, whole) => `${whole > 0 ? Math.floor((100 * part) / whole) : 100} %`;

/**
 * A duration in its two largest units: `2 min 5 s`.
 *
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/**
 * The time of day.
 *
 * @param {number} milliseconds since 1970
 */
export const clock = (milliseconds) => CLOCK.format(milliseconds);

/**
 * Day and time.
 *
 * @param {number} seconds since 1970, as the API has them
 */
export const date = (seconds) => DATE.format(seconds * 1000);
