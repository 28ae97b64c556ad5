/**
 * The side bar as a widget: watches the run list while it is visible, and redraws when that has changed.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { IDisposable } from '@lumino/disposable';
import type { CommandRegistry } from '@lumino/commands';
import { Widget } from '@lumino/widgets';
import { Fragment, h, render } from 'preact';

import { runsIcon } from './icons';
import { ModelList } from './modelList';
import { ModelsView } from './modelsView';
import { SidebarView } from './sidebarView';
import { CommandId } from './tokens';
import type { IRunList } from './tokens';

export const SIDEBAR_ID = 'lagom-magic-runs';
/** The document manager's command. */
const OPEN_FILE = 'docmanager:open';
/** How often 'two minutes ago' is brought up to date, in milliseconds. */
const CLOCK_INTERVAL_MS = 60_000;

export class Sidebar extends Widget {
  constructor(
    private readonly _list: IRunList,
    private readonly _commands: CommandRegistry,
    private readonly _trans: TranslationBundle,
    private readonly _language: string
  ) {
    super();
    this.id = SIDEBAR_ID;
    this.addClass('lagom-Sidebar');
    this.title.icon = runsIcon;
    this.title.caption = _trans.__('Lagom runs');
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', _trans.__('Lagom runs'));
    this._models = new ModelList(_list.client);
    this._models.changed.connect(this._draw, this);
    _list.changed.connect(this._onRunsChanged, this);
  }

  override dispose(): void {
    this._list.changed.disconnect(this._onRunsChanged, this);
    this._models.dispose();
    this._unwatch();
    render(null, this.node);
    super.dispose();
  }

  protected override onAfterShow(): void {
    this._watch();
  }

  protected override onAfterAttach(): void {
    if (this.isVisible) {
      this._watch();
    }
  }

  protected override onAfterHide(): void {
    this._unwatch();
  }

  protected override onBeforeDetach(): void {
    this._unwatch();
  }

  protected override onActivateRequest(): void {
    const run = this.node.querySelector<HTMLElement>('.lagom-RunList-open[tabindex="0"]');
    (run ?? this.node.querySelector<HTMLElement>('.lagom-RunList-button'))?.focus();
  }

  private _watch(): void {
    if (this._watching === null) {
      this._watching = this._list.watch();
      void this._list.refresh();
    }
    this._clock ??= window.setInterval(() => this._draw(), CLOCK_INTERVAL_MS);
    this._draw();
  }

  private _unwatch(): void {
    this._watching?.dispose();
    this._watching = null;
    window.clearInterval(this._clock);
    this._clock = undefined;
  }

  /** Models come from runs, so they are asked for with them. */
  private _onRunsChanged(): void {
    if (this._watching !== null) {
      void this._models.refresh(this._list.folder);
    }
    this._draw();
  }

  private _draw(): void {
    if (this._watching === null) {
      return;
    }
    const { runs, folder, error, isLoaded } = this._list;
    const shared = { now: Date.now() / 1000, language: this._language, trans: this._trans };
    const runsView = h(SidebarView, {
      ...shared,
      runs,
      folder,
      error,
      isLoaded,
      onCommand: (command, run) =>
        void this._commands.execute(command, { dir: run.dir, label: run.experiment }),
      onRefresh: () => void this._list.refresh()
    });
    const modelsView = h(ModelsView, {
      ...shared,
      models: this._models.models,
      error: this._models.error,
      onRun: dir => void this._commands.execute(CommandId.openRun, { dir, label: dir.split('/').at(-2) }),
      onFile: path => void this._commands.execute(OPEN_FILE, { path })
    });
    render(h(Fragment, null, runsView, modelsView), this.node);
  }

  private readonly _models: ModelList;
  private _watching: IDisposable | null = null;
  private _clock: number | undefined;
}
