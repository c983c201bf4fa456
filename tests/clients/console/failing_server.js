/** A session's text behind `fetch`, as docs/API.md describes it, on a line and in a process that fail at random. */

const DURABLE_BYTES = 256 * 1024;

export class FailingServer {
  text = Buffer.alloc(0);
  failures = 0;
  /** Called instead of an answer where the page is loaded again. */
  reload = () => undefined;

  /**
   * @param {() => number} next random number
   * @param {number} share of the requests that fail
   */
  constructor(next, share) {
    this.next = next;
    this.share = share;
    /** So many bytes are never lost. */
    this.safe = 0;
  }

  fetch = async (url, { method = "GET", body, headers = {}, signal } = {}) => {
    signal?.throwIfAborted();
    await new Promise(setImmediate);
    if (url === "livez") return this.#pick([() => new Response("ok"), lost]);
    const bytes = Buffer.from((await body?.arrayBuffer()) ?? "");
    const answer = () => (method === "PATCH" ? this.#append(Number(headers["Upload-Offset"]), bytes) : this.#state());
    if (this.next() >= this.share) return answer();
    this.failures += 1;
    return this.#pick([
      lost,
      () => lost(answer()),
      () => lost(method === "PATCH" && this.#append(Number(headers["Upload-Offset"]), this.#cut(bytes))),
      () => problem(503, "draining", {}, 1),
      () => problem(429, "overloaded", {}, 1),
      () => new Response("no upstream", { status: 502 }),
      () => (answer(), new Response("no upstream", { status: 504 })),
      () => lost(this.#lose()),
      () => this.reload() ?? new Promise(() => undefined),
      () => (answer(), this.reload() ?? new Promise(() => undefined)),
    ]);
  };

  #pick = (actions) => actions[Math.floor(this.next() * actions.length)]();

  /** The durable pieces of a body that broke off. */
  #cut = (body) => body.subarray(0, Math.floor((this.next() * body.length) / DURABLE_BYTES) * DURABLE_BYTES);

  /** A store that was restored from a copy has less of the text. */
  #lose() {
    if (this.safe < this.text.length)
      this.text = this.text.subarray(0, this.safe + Math.floor(this.next() * (this.text.length - this.safe)));
  }

  #state = () => Response.json({ id: "s", text: { accepted_bytes: this.text.length } });

  #append(offset, body) {
    const has = this.text.length;
    if (offset > has) return problem(409, "offset_mismatch", { expected_offset: has });
    const known = this.text.subarray(offset, offset + body.length);
    if (!known.equals(body.subarray(0, known.length)))
      return problem(409, "content_conflict", { expected_offset: has });
    this.text = Buffer.concat([this.text, body.subarray(known.length)]);
    return Response.json({ accepted_bytes: this.text.length });
  }
}

function lost() {
  throw new TypeError("Failed to fetch");
}

export function problem(status, code, members, retryAfter) {
  const headers = retryAfter === undefined ? {} : { "Retry-After": String(retryAfter) };
  return Response.json({ detail: code, error: { code }, ...members }, { status, headers });
}
