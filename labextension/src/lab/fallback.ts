/**
 * The other faces of a run's output: the static one, and over it the kernel's widget as soon as that is drawn.
 *
 * Used by the renderer before the run's own view is there, and where the server cannot see the run.
 */
import type { IRenderMime, IRenderMimeRegistry } from '@jupyterlab/rendermime';
import { MimeModel } from '@jupyterlab/rendermime';
import { Panel } from '@lumino/widgets';

import { isRecord } from '../model/json';
import { WIDGET_MIME_TYPE } from './tokens';

const STATIC_MIME_TYPES = ['text/html', 'text/plain'];

export class Fallback extends Panel {
  /** @param _rendermime - of the notebook, which alone knows the widgets of its kernel. */
  constructor(private readonly _rendermime: IRenderMimeRegistry) {
    super();
  }

  override dispose(): void {
    this._observer.disconnect();
    super.dispose();
  }

  /** Show what the output holds now. */
  async renderStatic(model: IRenderMime.IMimeModel): Promise<void> {
    const mimeType = STATIC_MIME_TYPES.find(type => type in model.data);
    if (mimeType === undefined) {
      return;
    }
    if (this._static === null) {
      this._static = this._rendermime.createRenderer(mimeType);
      this.insertWidget(0, this._static);
    }
    await this._static.renderModel(model);
  }

  /** As `renderStatic`, and the widget too, if the output has one. */
  async renderAll(model: IRenderMime.IMimeModel): Promise<void> {
    await this.renderStatic(model);
    const source = model.data[WIDGET_MIME_TYPE];
    const id = isRecord(source) ? source.model_id : undefined;
    const isKnown = this._rendermime.getFactory(WIDGET_MIME_TYPE) !== undefined;
    if (typeof id !== 'string' || id === this._modelId || !isKnown || !model.trusted) {
      return;
    }
    this._modelId = id;
    this._widget?.dispose();
    const widget = (this._widget = this._rendermime.createRenderer(WIDGET_MIME_TYPE));
    widget.hide();
    this.addWidget(widget);
    // Until it has drawn its widget, which may be after the kernel has come back, it holds nothing but a sentence.
    this._observer.observe(widget.node, { childList: true });
    await widget.renderModel(
      new MimeModel({ data: { [WIDGET_MIME_TYPE]: { ...(source as object) } }, trusted: model.trusted })
    );
  }

  private _showWidgetIfDrawn(): void {
    const isDrawn = this._widget !== null && this._widget.node.childElementCount > 0;
    this._widget?.setHidden(!isDrawn);
    this._static?.setHidden(isDrawn);
  }

  private readonly _observer = new MutationObserver(() => this._showWidgetIfDrawn());
  private _static: IRenderMime.IRenderer | null = null;
  private _widget: IRenderMime.IRenderer | null = null;
  private _modelId: string | null = null;
}
