/**
 * The models below one folder, asked from the server when the side bar looks; its model.
 */
import type { IDisposable } from '@lumino/disposable';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

import { ExtensionMissingError } from './client';
import type { RunsClient } from './client';
import type { IModelInfo } from './modelInfo';

export class ModelList implements IDisposable {
  constructor(private readonly _client: Pick<RunsClient, 'listModels'>) {}

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** By name, then newest first; kept from the last answer while a newer one is awaited. */
  get models(): readonly IModelInfo[] {
    return this._models;
  }

  /** Why the last request failed; null when it did not, or when the list of runs tells it already. */
  get error(): Error | null {
    return this._error;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    Signal.clearData(this);
  }

  /** Ask for those below the folder: one request at a time, and one more when it was asked for meanwhile. */
  async refresh(folder: string): Promise<void> {
    if (folder !== this._folder) {
      this._folder = folder;
      this._models = [];
    }
    this._isWanted = true;
    if (this._isAsking) {
      return;
    }
    this._isAsking = true;
    while (this._isWanted && !this._isDisposed) {
      this._isWanted = false;
      await this._ask();
    }
    this._isAsking = false;
  }

  private async _ask(): Promise<void> {
    const folder = this._folder;
    let models = this._models;
    let error: Error | null = null;
    try {
      models = await this._client.listModels(folder);
    } catch (reason) {
      error = reason instanceof Error ? reason : new Error(String(reason));
    }
    if (this._isDisposed || folder !== this._folder) {
      return;
    }
    this._models = models;
    this._error = error instanceof ExtensionMissingError ? null : error;
    this._changed.emit();
  }

  private readonly _changed = new Signal<this, void>(this);
  private _folder = '';
  private _models: readonly IModelInfo[] = [];
  private _error: Error | null = null;
  private _isAsking = false;
  private _isWanted = false;
  private _isDisposed = false;
}
