/**
 * The item of the status bar: how far the live run is; a click shows the side bar.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import { Widget } from '@lumino/widgets';

import { statusText } from './runInfo';
import type { IRunList } from './tokens';

export class StatusItem extends Widget {
  /**
   * @param list - the runs, of which the newest live one is shown.
   * @param trans - our texts.
   * @param onClick - shows the runs.
   */
  constructor(
    private readonly _list: IRunList,
    private readonly _trans: TranslationBundle,
    onClick: () => void
  ) {
    super();
    this.addClass('lagom-Status');
    this._button.type = 'button';
    this._button.title = _trans.__('Show the lagom runs');
    this._button.addEventListener('click', onClick);
    this.node.appendChild(this._button);
    _list.changed.connect(this._draw, this);
    this._draw();
  }

  /** Whether there is something to show. */
  get isActive(): boolean {
    return this._watching !== null;
  }

  override dispose(): void {
    this._list.changed.disconnect(this._draw, this);
    this._watching?.dispose();
    super.dispose();
  }

  /** The list is watched while it has a live run; who starts one has it refreshed. */
  private _draw(): void {
    const run = this._list.runs.find(run => run.is_live);
    if (run === undefined) {
      this._watching?.dispose();
      this._watching = null;
    } else {
      this._watching ??= this._list.watch();
    }
    this._button.textContent = run === undefined ? '' : statusText(run, this._trans);
  }

  private readonly _button = document.createElement('button');
  private _watching: IDisposable | null = null;
}
