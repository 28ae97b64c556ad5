/** The widget's own channel to the kernel that drives the run. Used by the anywidget entry. */
import type { Request } from '../model/messages';
import { Listeners } from './transport';
import type { ConnectionState, ITransport } from './transport';

/** What we use of anywidget's model. */
export interface IWidgetModel {
  get(name: string): unknown;
  send(content: unknown): void;
  on(name: string, callback: (...values: unknown[]) => void): void;
  off(name?: string | null, callback?: ((...values: unknown[]) => void) | null): void;
}

export class CommTransport implements ITransport {
  constructor(private readonly _model: IWidgetModel) {
    _model.on('msg:custom', this._receive);
    _model.on('destroy', this._close);
  }

  readonly startsOver = false;

  get state(): ConnectionState {
    return this._state;
  }

  send(request: Request): void {
    if (this._state === 'open') this._model.send(request);
  }

  onMessage(listener: (data: unknown) => void): () => void {
    return this._messages.add(listener);
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    return this._states.add(listener);
  }

  dispose(): void {
    this._model.off('msg:custom', this._receive);
    this._model.off('destroy', this._close);
    this._close();
    this._messages.clear();
    this._states.clear();
  }

  private readonly _receive = (data: unknown): void => this._messages.call(data);

  private readonly _close = (): void => {
    if (this._state === 'closed') return;
    this._state = 'closed';
    this._states.call('closed');
  };

  private _state: ConnectionState = 'open';
  private readonly _messages = new Listeners<unknown>();
  private readonly _states = new Listeners<ConnectionState>();
}
