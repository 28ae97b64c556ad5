/** A web socket to our Jupyter server extension, opened again when it breaks. Used by the JupyterLab extension. */
import type { Request } from '../model/messages';
import { Listeners } from './transport';
import type { ConnectionState, ITransport } from './transport';

/** Before the first and any further attempt to connect again, in milliseconds. */
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 15_000;

export interface ISocketOptions {
  /** The address, asked for at each attempt, as tokens change. */
  url: () => string;
  /** Makes the socket; JupyterLab's server settings bring their own class. */
  connect?: (url: string) => WebSocket;
}

export class SocketTransport implements ITransport {
  constructor(private readonly _options: ISocketOptions) {
    this.firstOpen = new Promise(resolve => {
      this._tellFirst = resolve;
    });
    this._connect();
  }

  readonly startsOver = true;

  /** Whether the very first attempt succeeded: the server has our extension, and sees the folder. */
  readonly firstOpen: Promise<boolean>;

  get state(): ConnectionState {
    return this._state;
  }

  send(request: Request): void {
    if (this._socket?.readyState === 1) this._socket.send(JSON.stringify(request));
  }

  onMessage(listener: (data: unknown) => void): () => void {
    return this._messages.add(listener);
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    return this._states.add(listener);
  }

  dispose(): void {
    this._isDisposed = true;
    clearTimeout(this._timer);
    this._socket?.close();
    this._tellFirst(false);
    this._change('closed');
    this._messages.clear();
    this._states.clear();
  }

  private _connect(): void {
    const url = this._options.url();
    const socket = this._options.connect?.(url) ?? new WebSocket(url);
    this._socket = socket;
    socket.onopen = () => {
      this._waitMs = FIRST_WAIT_MS;
      this._tellFirst(true);
      this._change('open');
    };
    socket.onmessage = event => {
      const data = parsed(event.data);
      if (data !== undefined) this._messages.call(data);
    };
    socket.onclose = () => {
      this._tellFirst(false);
      if (this._isDisposed || this._socket !== socket) return;
      this._change('connecting');
      this._timer = setTimeout(() => this._connect(), this._waitMs * (0.75 + Math.random() / 2));
      this._waitMs = Math.min(LONGEST_WAIT_MS, this._waitMs * 2);
    };
  }

  private _change(state: ConnectionState): void {
    if (this._state === state) return;
    this._state = state;
    this._states.call(state);
  }

  private _tellFirst: (isOpen: boolean) => void = () => undefined;
  private _state: ConnectionState = 'connecting';
  private _socket: WebSocket | null = null;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _waitMs = FIRST_WAIT_MS;
  private _isDisposed = false;
  private readonly _messages = new Listeners<unknown>();
  private readonly _states = new Listeners<ConnectionState>();
}

/** The JSON of a text frame; undefined, with a word in the browser's console, when it is none. */
function parsed(data: unknown): unknown {
  if (typeof data !== 'string') return undefined;
  try {
    return JSON.parse(data);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    console.warn(`lagom: a message is not JSON: ${error.message}`);
    return undefined;
  }
}
