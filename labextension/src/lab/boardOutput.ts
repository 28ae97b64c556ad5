/**
 * The output of `%lagom board`: TensorBoard in the cell, while the kernel's process runs.
 *
 * Drawn in trusted cells only, because a port in a stranger's notebook could be any service of this machine.
 */
import type { IRenderMime } from '@jupyterlab/rendermime-interfaces';
import { PanelLayout, Widget } from '@lumino/widgets';

import { Board } from './board';
import type { IBoardOptions } from './board';
import { experimentOf } from './notebookRuns';
import { BOARD_MIME_TYPE } from './tokens';
import { isRecord } from '../model/json';

export type IBoardOutputOptions = Omit<IBoardOptions, 'run' | 'askPort' | 'endedText'>;

export class BoardOutput extends Widget implements IRenderMime.IRenderer {
  constructor(private readonly _options: IBoardOutputOptions) {
    super();
    this.addClass('lagom-BoardOutput');
    this.layout = new PanelLayout();
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const data = model.data[BOARD_MIME_TYPE];
    if (!isRecord(data) || typeof data.dir !== 'string' || !Number.isInteger(data.port)) {
      return;
    }
    const { client, trans } = this._options;
    const [dir, port] = [data.dir, data.port as number];
    const isThere = await client.answers(client.proxyUrl(port));
    if (this.isDisposed) {
      return;
    }
    const layout = this.layout as PanelLayout;
    const endedText = trans.__(
      'This TensorBoard has ended, or is out of reach of this page. Run the cell again.'
    );
    layout.widgets.forEach(widget => widget.dispose());
    if (isThere) {
      const run = { dir, label: experimentOf(dir) };
      const askPort = () => Promise.resolve(port);
      layout.addWidget(new Board({ ...this._options, run, endedText, askPort }));
    } else {
      const message = new Widget();
      message.addClass('lagom-Board-message');
      message.node.textContent = endedText;
      layout.addWidget(message);
    }
  }
}
