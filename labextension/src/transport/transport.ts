/** A way for messages between this page and the one that follows the run: a comm or a socket. */
import type { Request } from '../model/messages';

export type ConnectionState = 'connecting' | 'open' | 'closed';

export interface ITransport {
  readonly state: ConnectionState;
  /** Whether the other side makes a new follower for each connection, which counts its updates from 1. */
  readonly startsOver: boolean;
  send(request: Request): void;
  /** Each returns what ends it. */
  onMessage(listener: (data: unknown) => void): () => void;
  onState(listener: (state: ConnectionState) => void): () => void;
  dispose(): void;
}

/** Keeps the listeners of one kind of event. */
export class Listeners<T> {
  add(listener: (value: T) => void): () => void {
    this._all.add(listener);
    return () => this._all.delete(listener);
  }

  call(value: T): void {
    for (const listener of [...this._all]) listener(value);
  }

  clear(): void {
    this._all.clear();
  }

  private readonly _all = new Set<(value: T) => void>();
}
