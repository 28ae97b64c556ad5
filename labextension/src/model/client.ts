/** Requests and their replies over a transport: ids, parts, time limits. Used by the session. */
import { parseIncoming } from './messages';
import type { IPart, IUpdate, Reply, RequestBody } from './messages';
import type { ITransport } from '../transport/transport';

/** Without any answer in this time, in milliseconds, a page says so. */
export const CONTROL_TIMEOUT_MS = 2_000;
export const REQUEST_TIMEOUT_MS = 20_000;

/** Why a request brought no value: the other side refused it, did not answer in time, or is gone. */
export class RequestError extends Error {
  constructor(
    readonly reason: 'refused' | 'timeout' | 'closed',
    message: string
  ) {
    super(message);
    this.name = 'RequestError';
  }
}

interface IPending {
  resolve(value: unknown): void;
  reject(error: RequestError): void;
  readonly timeoutMs: number;
  timer: ReturnType<typeof setTimeout>;
  parts: (string | undefined)[];
}

export class Client {
  constructor(
    private readonly _transport: ITransport,
    private readonly _onUpdate: (update: IUpdate) => void
  ) {
    this._ends = [
      _transport.onMessage(data => this._receive(data)),
      _transport.onState(state => {
        if (state !== 'open') this._rejectAll();
      })
    ];
  }

  /**
   * Send a request.
   *
   * @param timeoutMs - from now, or from the last part of a long reply.
   * @returns its reply's value.
   * @throws RequestError, see there.
   */
  request(body: RequestBody, timeoutMs: number = REQUEST_TIMEOUT_MS): Promise<unknown> {
    if (this._transport.state !== 'open') {
      return Promise.reject(new RequestError('closed', 'There is no connection to the run.'));
    }
    this._lastId += 1;
    const id = `${this._prefix}-${this._lastId}`;
    return new Promise((resolve, reject) => {
      this._pending.set(id, { resolve, reject, timeoutMs, timer: this._timerOf(id, timeoutMs), parts: [] });
      this._transport.send({ ...body, id });
    });
  }

  dispose(): void {
    for (const end of this._ends) end();
    this._rejectAll();
  }

  private _receive(data: unknown): void {
    const message = parseIncoming(data);
    if (message === null) return;
    if (message.type === 'update') this._onUpdate(message);
    else if (message.type === 'part') this._takePart(message);
    else this._takeReply(message);
  }

  private _takeReply(reply: Reply): void {
    const pending = this._end(reply.id);
    if (pending === null) return;
    if (reply.ok) pending.resolve(reply.value);
    else pending.reject(new RequestError('refused', reply.error));
  }

  private _takePart(part: IPart): void {
    const pending = this._pending.get(part.id);
    if (pending === undefined) return;
    clearTimeout(pending.timer);
    pending.timer = this._timerOf(part.id, pending.timeoutMs);
    pending.parts[part.index] = part.data;
    for (let index = 0; index < part.n_parts; index += 1) {
      if (pending.parts[index] === undefined) return;
    }
    this._end(part.id);
    try {
      pending.resolve(JSON.parse(pending.parts.join('')));
    } catch (error) {
      pending.reject(new RequestError('refused', `The answer's parts make no JSON: ${String(error)}`));
    }
  }

  private _end(id: string): IPending | null {
    const pending = this._pending.get(id);
    if (pending === undefined) return null;
    clearTimeout(pending.timer);
    this._pending.delete(id);
    return pending;
  }

  private _timerOf(id: string, timeoutMs: number): ReturnType<typeof setTimeout> {
    return setTimeout(() => {
      this._end(id)?.reject(new RequestError('timeout', `No answer in ${timeoutMs / 1000} s.`));
    }, timeoutMs);
  }

  private _rejectAll(): void {
    for (const id of [...this._pending.keys()]) {
      this._end(id)?.reject(new RequestError('closed', 'The connection to the run was closed.'));
    }
  }

  /** Several pages may share a kernel's channel: their ids must differ. */
  private readonly _prefix = Math.random().toString(36).slice(2, 10);
  private readonly _pending = new Map<string, IPending>();
  private readonly _ends: (() => void)[];
  private _lastId = 0;
}
