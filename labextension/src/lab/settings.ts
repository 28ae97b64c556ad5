/**
 * The user's settings of the extension; `schema/plugin.json` describes them.
 */
import type { ISettingRegistry } from '@jupyterlab/settingregistry';
import { Signal } from '@lumino/signaling';
import type { ISignal } from '@lumino/signaling';

export class LabSettings {
  /** Emitted when a value has changed. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Whether our renderer shows the outputs of runs; else the widget or the static table does. */
  get takesOverOutputs(): boolean {
    return this._takesOverOutputs;
  }

  /** Seconds between two looks at a list with live runs. */
  get refreshInterval(): number {
    return this._refreshInterval;
  }

  /** Whether TensorBoard is dark when JupyterLab is. */
  get boardFollowsTheme(): boolean {
    return this._boardFollowsTheme;
  }

  /** Take the values from there, now and whenever they change. */
  follow(settings: ISettingRegistry.ISettings): void {
    const read = (): void => {
      this._takesOverOutputs = settings.get('takesOverOutputs').composite as boolean;
      this._refreshInterval = settings.get('refreshInterval').composite as number;
      this._boardFollowsTheme = settings.get('boardFollowsTheme').composite as boolean;
      this._changed.emit();
    };
    settings.changed.connect(read);
    read();
  }

  private _takesOverOutputs = true;
  private _refreshInterval = 2;
  private _boardFollowsTheme = true;
  private readonly _changed = new Signal<this, void>(this);
}
