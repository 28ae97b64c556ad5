/**
 * The runs below one folder, asked from the server when somebody looks; the model of side bar and status bar.
 */
import { DisposableDelegate } from '@lumino/disposable';
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import type { RunsClient } from './client';
import type { IRunInfo } from './runInfo';
import type { LabSettings } from './settings';
import type { IRunList } from './tokens';

export class RunList implements IRunList, IDisposable {
  constructor(
    readonly client: RunsClient,
    readonly settings: LabSettings
  ) {
    document.addEventListener('visibilitychange', this._onVisibilityChange);
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get runs(): readonly IRunInfo[] {
    return this._runs;
  }

  get error(): Error | null {
    return this._error;
  }

  get isLoaded(): boolean {
    return this._isLoaded;
  }

  get folder(): string {
    return this._folder;
  }

  set folder(folder: string) {
    if (folder === this._folder) {
      return;
    }
    this._folder = folder;
    this._runs = [];
    this._isLoaded = false;
    this._changed.emit();
    if (this._nWatchers > 0) {
      void this.refresh();
    }
  }

  /** One request at a time; one that is asked for meanwhile follows it, so that its answer is new. */
  async refresh(): Promise<void> {
    if (this._underWay === null) {
      this._underWay = this._ask();
    } else {
      this._next ??= this._underWay.then(() => {
        this._next = null;
        this._underWay = this._ask();
        return this._underWay;
      });
      return this._next;
    }
    return this._underWay;
  }

  watch(): IDisposable {
    this._nWatchers += 1;
    this._schedule();
    return new DisposableDelegate(() => {
      this._nWatchers -= 1;
      this._schedule();
    });
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    document.removeEventListener('visibilitychange', this._onVisibilityChange);
    clearTimeout(this._timer);
    Signal.clearData(this);
  }

  private async _ask(): Promise<void> {
    clearTimeout(this._timer);
    const folder = this._folder;
    let runs: IRunInfo[] | null = null;
    let error: Error | null = null;
    try {
      runs = await this.client.list(folder);
    } catch (reason) {
      error = reason instanceof Error ? reason : new Error(String(reason));
    }
    this._underWay = null;
    if (this._isDisposed) {
      return;
    }
    if (folder !== this._folder) {
      return this.refresh();
    }
    this._runs = runs ?? this._runs;
    this._error = error;
    this._isLoaded = true;
    this._schedule();
    this._changed.emit();
  }

  /** The next look, when there is something to see and somebody who sees it. */
  private _schedule(): void {
    clearTimeout(this._timer);
    const isWanted = this._nWatchers > 0 && !document.hidden && this._runs.some(run => run.is_live);
    if (isWanted && !this._isDisposed) {
      this._timer = window.setTimeout(() => void this.refresh(), this.settings.refreshInterval * 1000);
    }
  }

  private readonly _onVisibilityChange = (): void => {
    if (!document.hidden && this._nWatchers > 0) {
      void this.refresh();
    } else {
      this._schedule();
    }
  };

  private readonly _changed = new Signal<this, void>(this);
  private _folder = '';
  private _runs: readonly IRunInfo[] = [];
  private _error: Error | null = null;
  private _isLoaded = false;
  private _isDisposed = false;
  private _nWatchers = 0;
  private _timer: number | undefined;
  private _underWay: Promise<void> | null = null;
  private _next: Promise<void> | null = null;
}
