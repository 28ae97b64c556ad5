/**
 * The view of one run over its socket, as a widget; under a cell and in a tab of its own.
 */
import type { Kernel } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';

import { RequestError } from '../model/client';
import type { ControlAction, RunState } from '../model/messages';
import { RunSession } from '../model/session';
import type { SocketTransport } from '../transport/socket';
import { mountRunView } from '../view/mount';
import { openRunSocket } from './runSocket';
import type { IRunList } from './tokens';

export interface ILiveViewOptions {
  dir: string;
  /** Is refreshed when the run's state changes. */
  list: IRunList;
  trans: TranslationBundle;
  openBoard(dir: string): void;
  /** The kernel that runs the cell of the run now, when it is known. */
  drivingKernel(dir: string): Kernel.IKernelConnection | null;
}

export class LiveView extends Widget {
  constructor(private readonly _options: ILiveViewOptions) {
    super();
    this.addClass('lagom-LiveView');
    this._socket = openRunSocket(_options.dir, _options.list.client.serverSettings);
    this._session = new RunSession(this._socket);
    this.ready = this._firstUpdate();
    const view = mountRunView(this.node, {
      session: this._session,
      translator: _options.trans,
      folder: _options.dir,
      openBoard: () => _options.openBoard(_options.dir),
      control: (action, trialId) => this._control(action, trialId)
    });
    this._ends.push(
      this._session.model.subscribe(() => this._noteState()),
      () => view.dispose()
    );
  }

  /** True with the first update, false when the server does not bring one. */
  readonly ready: Promise<boolean>;

  get dir(): string {
    return this._options.dir;
  }

  get isReady(): boolean {
    return this._session.model.run !== null;
  }

  override dispose(): void {
    this._ends.splice(0).forEach(end => end());
    this._session.dispose();
    super.dispose();
  }

  private async _firstUpdate(): Promise<boolean> {
    if (!(await this._socket.firstOpen)) {
      return false;
    }
    return new Promise(resolve => {
      const ends = [
        this._session.model.subscribe(() => resolve(this.isReady)),
        this._session.onConnection(() => resolve(this.isReady))
      ];
      this._ends.push(...ends);
    });
  }

  /** By the socket; a run that does not answer there is stopped by its kernel's interrupt. */
  private async _control(action: ControlAction, trialId: number | null): Promise<string> {
    try {
      return await this._session.control(action, trialId);
    } catch (reason) {
      const isUnanswered = reason instanceof RequestError && reason.reason !== 'refused';
      const kernel = action === 'stop' && isUnanswered ? this._options.drivingKernel(this.dir) : null;
      if (kernel === null) {
        throw reason;
      }
      await kernel.interrupt();
      return this._options.trans.__('The kernel was interrupted; the run stops.');
    }
  }

  private _noteState(): void {
    const state = this._session.model.run?.state ?? null;
    if (state !== this._state) {
      this._state = state;
      void this._options.list.refresh();
    }
  }

  private readonly _socket: SocketTransport;
  private readonly _session: RunSession;
  private readonly _ends: (() => void)[] = [];
  private _state: RunState | null = null;
}
