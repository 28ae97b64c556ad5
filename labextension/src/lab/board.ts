/**
 * TensorBoard of one run in a panel: asks for its port, then shows it through jupyter-server-proxy.
 *
 * The port may be another one after a restart, so it is asked for whenever the panel is made or reloaded. The server
 * extension's TensorBoard ends with the run's kernel, and when its panel is closed; leaving the page closes no panel.
 */
import type { IThemeManager } from '@jupyterlab/apputils';
import { MainAreaWidget } from '@jupyterlab/apputils';
import { ServerConnection } from '@jupyterlab/services';
import type { Kernel } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IFrame, launchIcon, refreshIcon, ToolbarButton } from '@jupyterlab/ui-components';
import { PanelLayout, Widget } from '@lumino/widgets';

import { sentence } from './actions';
import { HttpError } from './client';
import type { RunsClient } from './client';
import { boardIcon } from './icons';
import type { IRunTarget } from './notebookRuns';
import type { LabSettings } from './settings';

export interface IBoardOptions {
  run: IRunTarget;
  client: RunsClient;
  settings: LabSettings;
  themes: IThemeManager | null;
  trans: TranslationBundle;
  /** With one of them TensorBoard may end. */
  kernels: Pick<Kernel.IManager, 'runningChanged'>;
  /** What to say when TensorBoard has ended. */
  endedText: string;
  /** Start the run's TensorBoard when it is not there; resolves with its port. */
  askPort(dir: string): Promise<number>;
}

export interface IBoardPanelOptions extends Omit<IBoardOptions, 'endedText'> {
  /** Whether a panel shows the run's TensorBoard. */
  isOpen(dir: string): boolean;
}

/** The panel of one run's TensorBoard, with its toolbar. */
export function createBoard(options: IBoardPanelOptions): MainAreaWidget<Board> {
  const { run, trans } = options;
  const endedText = trans.__(
    'TensorBoard has ended, as it does with the kernel of its run. Reload starts it again.'
  );
  const board = new Board({ ...options, endedText });
  const panel = new MainAreaWidget({ content: board });
  panel.addClass('lagom-BoardPanel');
  panel.title.label = trans.__('TensorBoard: %1', run.label);
  panel.title.caption = run.dir;
  panel.title.icon = boardIcon;
  panel.toolbar.node.setAttribute('aria-label', trans.__('TensorBoard'));
  panel.toolbar.addItem(
    'reload',
    new ToolbarButton({ icon: refreshIcon, label: trans.__('Reload'), onClick: () => void board.load() })
  );
  panel.toolbar.addItem(
    'browser',
    new ToolbarButton({
      icon: launchIcon,
      label: trans.__('Open in a browser tab'),
      onClick: () => board.openTab()
    })
  );
  panel.disposed.connect(() => void endBoard(board, options));
  return panel;
}

/** End TensorBoard after its panel, also when it was still starting; not when the panel was opened again meanwhile. */
async function endBoard(board: Board, { run, client, isOpen }: IBoardPanelOptions): Promise<void> {
  await board.loaded;
  if (isOpen(run.dir)) {
    return;
  }
  try {
    await client.stopBoard(run.dir);
  } catch (reason) {
    if (!(reason instanceof HttpError)) {
      throw reason;
    }
    console.warn(`lagom: TensorBoard of ${run.dir} was not ended: ${reason.message}`);
  }
}

export class Board extends Widget {
  constructor(private readonly _options: IBoardOptions) {
    super();
    const { run, settings, themes, trans, kernels } = _options;
    this.addClass('lagom-Board');
    this._frame = new IFrame({
      sandbox: ['allow-scripts', 'allow-same-origin', 'allow-popups', 'allow-forms'],
      loading: 'eager'
    });
    this._element = this._frame.node.querySelector('iframe') as HTMLIFrameElement;
    this._element.title = trans.__('TensorBoard of %1', run.label);
    this._message.addClass('lagom-Board-message');
    this._message.node.setAttribute('role', 'status');
    const layout = (this.layout = new PanelLayout());
    layout.addWidget(this._message);
    layout.addWidget(this._frame);
    settings.changed.connect(this._follow, this);
    themes?.themeChanged.connect(this._follow, this);
    kernels.runningChanged.connect(this._look, this);
    void this.load();
  }

  get dir(): string {
    return this._options.run.dir;
  }

  get label(): string {
    return this._options.run.label;
  }

  /** Settles when nothing that was asked for is under way. */
  get loaded(): Promise<void> {
    return this._loaded;
  }

  /** Ask for the port, and show what is there; one after the other. */
  load(): Promise<void> {
    this._loaded = this._loaded.then(() => this._load());
    return this._loaded;
  }

  /** The same page outside of JupyterLab. */
  openTab(): void {
    if (this._url !== null) {
      window.open(this._address(this._url, ''), '_blank', 'noopener');
    }
  }

  override dispose(): void {
    this._options.settings.changed.disconnect(this._follow, this);
    this._options.themes?.themeChanged.disconnect(this._follow, this);
    this._options.kernels.runningChanged.disconnect(this._look, this);
    super.dispose();
  }

  protected override onActivateRequest(): void {
    this._element.focus();
  }

  protected override onAfterShow(): void {
    this._look();
  }

  private async _load(): Promise<void> {
    if (this.isDisposed) {
      return;
    }
    const { client, trans, run } = this._options;
    this._url = null;
    this._say(trans.__('TensorBoard starts…'));
    try {
      const port = await this._options.askPort(run.dir);
      const url = client.proxyUrl(port);
      if (this.isDisposed) {
        return;
      }
      if (!(await client.answers(url))) {
        this._say(
          trans.__(
            'TensorBoard runs on port %1 of the machine of the server, and this page cannot reach it: is jupyter-server-proxy installed there?',
            port
          )
        );
        return;
      }
      this._url = url;
      this._show(url, '');
    } catch (reason) {
      this._say(trans.__('TensorBoard did not start: %1', sentence(reason)));
    }
  }

  private _look(): void {
    if (this._url !== null && this.isVisible) {
      void this._sayIfEnded(this._url);
    }
  }

  /** A page whose TensorBoard has ended looks alive and answers nothing. */
  private async _sayIfEnded(url: string): Promise<void> {
    let isThere: boolean;
    try {
      isThere = await this._options.client.answers(url);
    } catch (reason) {
      if (!(reason instanceof ServerConnection.NetworkError)) {
        throw reason;
      }
      return; // the Jupyter server is out of reach, of which JupyterLab tells
    }
    if (!isThere && url === this._url) {
      this._url = null;
      this._say(this._options.endedText);
    }
  }

  /** Show the page again in the other colours, at the place where it was. */
  private _follow(): void {
    if (this._url !== null && this._address(this._url, '') !== this._shown) {
      this._show(this._url, this._element.contentWindow?.location.hash ?? '');
    }
  }

  private _show(url: string, hash: string): void {
    if (this.isDisposed) {
      return;
    }
    this._shown = this._address(url, '');
    this._frame.url = this._address(url, hash);
    this._frame.show();
    this._message.hide();
  }

  private _say(message: string): void {
    if (this.isDisposed) {
      return;
    }
    this._message.node.textContent = message;
    this._message.show();
    this._frame.hide();
  }

  private _address(url: string, hash: string): string {
    const { settings, themes } = this._options;
    const isDark = settings.boardFollowsTheme && themes?.theme && !themes.isLight(themes.theme);
    return `${url}${isDark ? '?darkMode=true' : ''}${hash}`;
  }

  private readonly _frame: IFrame;
  private readonly _element: HTMLIFrameElement;
  private readonly _message = new Widget();
  private _loaded: Promise<void> = Promise.resolve();
  /** Where the page is that is shown; null while none is. */
  private _url: string | null = null;
  private _shown = '';
}
