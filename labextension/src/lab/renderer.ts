/**
 * Shows the output of a run by the run's folder: live over a socket, without a kernel, and after a reload.
 *
 * Where the server has no extension or cannot see the folder, the output's other faces are shown.
 */
import type { INotebookTracker } from '@jupyterlab/notebook';
import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { PanelLayout, Widget } from '@lumino/widgets';

import { Fallback } from './fallback';
import { LiveView } from './liveView';
import type { ILiveViewOptions } from './liveView';
import { parseRunOutput } from './notebookRuns';
import { RUN_MIME_TYPE } from './tokens';

export interface IRunRendererOptions extends Omit<ILiveViewOptions, 'dir'> {
  /** The notebook's, when the output is in one. */
  resolver: IRenderMime.IResolver | null;
  notebooks: INotebookTracker | null;
  /** The application's, for outputs that are not in a notebook. */
  rendermime: IRenderMimeRegistry;
}

export class RunRenderer extends Widget implements IRenderMime.IRenderer {
  constructor(private readonly _options: IRunRendererOptions) {
    super();
    this.addClass('lagom-RunRenderer');
    this.layout = new PanelLayout();
    _options.list.settings.changed.connect(this._onSettings, this);
  }

  /** Is called for every update of the output, several times a second. */
  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this._model = model;
    const dir = parseRunOutput(model.data[RUN_MIME_TYPE])?.dir ?? null;
    if (dir !== this._dir) {
      this._clear();
      this._dir = dir;
      this._takesOver = this._options.list.settings.takesOverOutputs;
      if (dir !== null && this._takesOver) {
        this._open(dir);
      }
    }
    if (this._live === null) {
      await this._renderFallback(model, true);
    } else if (!this._live.isReady) {
      await this._renderFallback(model, false);
    }
  }

  private _open(dir: string): void {
    const live = new LiveView({ ...this._options, dir });
    this._live = live;
    void this._options.list.refresh();
    void live.ready.then(async isReady => {
      if (live !== this._live || this.isDisposed) {
        return;
      }
      if (isReady) {
        this._fallback?.dispose();
        this._fallback = null;
        (this.layout as PanelLayout).addWidget(live);
      } else {
        live.dispose();
        this._live = null;
        await this._renderFallback(this._model as IRenderMime.IMimeModel, true);
      }
    });
  }

  private async _renderFallback(model: IRenderMime.IMimeModel, withWidget: boolean): Promise<void> {
    if (this._fallback === null) {
      this._fallback = new Fallback(this._notebookRendermime() ?? this._options.rendermime);
      (this.layout as PanelLayout).addWidget(this._fallback);
    }
    await (withWidget ? this._fallback.renderAll(model) : this._fallback.renderStatic(model));
  }

  /** The notebook's, which is known by the resolver that it gives to all of its renderers. */
  private _notebookRendermime(): IRenderMimeRegistry | null {
    const { notebooks, resolver } = this._options;
    const panel = notebooks?.find(
      ({ content }) => resolver !== null && content.rendermime.resolver === resolver
    );
    return panel?.content.rendermime ?? null;
  }

  private _onSettings(): void {
    if (this._model !== null && this._takesOver !== this._options.list.settings.takesOverOutputs) {
      this._dir = undefined;
      void this.renderModel(this._model);
    }
  }

  private _clear(): void {
    this._live?.dispose();
    this._fallback?.dispose();
    this._live = null;
    this._fallback = null;
  }

  override dispose(): void {
    this._options.list.settings.changed.disconnect(this._onSettings, this);
    // It may not be in the layout yet.
    this._live?.dispose();
    super.dispose();
  }

  private _takesOver = true;
  private _dir: string | null | undefined = undefined;
  private _model: IRenderMime.IMimeModel | null = null;
  private _live: LiveView | null = null;
  private _fallback: Fallback | null = null;
}
