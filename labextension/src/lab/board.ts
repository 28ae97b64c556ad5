/**
 * TensorBoard of one run in a panel: asks for its port, then shows it through jupyter-server-proxy.
 *
 * The server's port may be another one after a restart, so it is asked for whenever the panel is made or reloaded.
 * Closing the panel leaves TensorBoard running, for it belongs to the run's kernel or to the server extension.
 */
import type { IThemeManager } from '@jupyterlab/apputils';
import { MainAreaWidget } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { IFrame, launchIcon, refreshIcon, ToolbarButton } from '@jupyterlab/ui-components';
import { PanelLayout, Widget } from '@lumino/widgets';

import { sentence } from './actions';
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
  /** Start the run's TensorBoard when it is not there; resolves with its port. */
  askPort(dir: string): Promise<number>;
}

/** The panel of one run's TensorBoard, with its toolbar. */
export function createBoard(options: IBoardOptions): MainAreaWidget<Board> {
  const { run, trans } = options;
  const board = new Board(options);
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
  return panel;
}

export class Board extends Widget {
  constructor(private readonly _options: IBoardOptions) {
    super();
    const { run, settings, themes, trans } = _options;
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
    void this.load();
  }

  get dir(): string {
    return this._options.run.dir;
  }

  get label(): string {
    return this._options.run.label;
  }

  /** Ask for the port, and show what is there. */
  async load(): Promise<void> {
    const { client, trans, run } = this._options;
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

  /** The same page outside of JupyterLab. */
  openTab(): void {
    if (this._url !== null) {
      window.open(this._address(this._url, ''), '_blank', 'noopener');
    }
  }

  override dispose(): void {
    this._options.settings.changed.disconnect(this._follow, this);
    this._options.themes?.themeChanged.disconnect(this._follow, this);
    super.dispose();
  }

  protected override onActivateRequest(): void {
    this._element.focus();
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
  private _url: string | null = null;
  private _shown = '';
}
