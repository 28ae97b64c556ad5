/**
 * The item of the status bar: how far the live run is; a click shows the side bar.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import { Widget } from '@lumino/widgets';

import { baseName, statusText } from './runInfo';
import type { IRunList } from './tokens';

export class StatusItem extends Widget {
  /**
   * @param list - the runs, of which a live one is shown: the one in front, else the newest.
   * @param dirInFront - the folder of the run that the page shows in front; null without one.
   * @param trans - our texts.
   * @param onClick - shows the runs.
   */
  constructor(
    private readonly _list: IRunList,
    private readonly _dirInFront: () => string | null,
    private readonly _trans: TranslationBundle,
    onClick: () => void
  ) {
    super();
    this.addClass('lagom-Status');
    this._button.type = 'button';
    this._button.title = _trans.__('Show the lagom runs');
    this._button.addEventListener('click', onClick);
    this.node.appendChild(this._button);
    _list.changed.connect(this.refresh, this);
    this.refresh();
  }

  /** Whether there is something to show. */
  get isActive(): boolean {
    return this._watching !== null;
  }

  override dispose(): void {
    this._list.changed.disconnect(this.refresh, this);
    this._watching?.dispose();
    super.dispose();
  }

  /** Look again which run is in front. The list is watched while it has a live run; who starts one has it refreshed. */
  refresh(): void {
    const dir = this._dirInFront();
    const live = this._list.runs.filter(run => run.is_live);
    const run = live.find(run => dir !== null && baseName(run.dir) === baseName(dir)) ?? live[0];
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
