/**
 * What the side bar draws: the runs of a folder as two lists, live and past. Props in, elements out.
 */
import { refreshIcon } from '@jupyterlab/ui-components';
import type { TranslationBundle } from '@jupyterlab/translation';
import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

import { ExtensionMissingError } from './client';
import { IconButton, RunItem } from './runItem';
import type { IRunInfo } from './runInfo';

/** Past runs that are shown at first, and that each 'show more' adds. */
const PAGE_SIZE = 50;

export interface ISidebarViewProps {
  runs: readonly IRunInfo[];
  folder: string;
  error: Error | null;
  isLoaded: boolean;
  /** Seconds since the epoch. */
  now: number;
  /** A BCP 47 tag. */
  language: string;
  trans: TranslationBundle;
  onCommand(command: string, run: IRunInfo): void;
  onRefresh(): void;
}

export function SidebarView(props: ISidebarViewProps): VNode {
  const { runs, trans } = props;
  const [limit, setLimit] = useState(PAGE_SIZE);
  const [focused, setFocused] = useState<string | null>(null);
  const root = useRef<HTMLDivElement>(null);
  const live = runs.filter(run => run.is_live);
  const past = runs.filter(run => !run.is_live);
  const shown = [...live, ...past.slice(0, limit)];
  const current = shown.some(run => run.dir === focused) ? focused : (shown[0]?.dir ?? null);

  // When the run with the focus is deleted its neighbour gets the focus.
  const index = useRef(0);
  useEffect(() => {
    if (focused !== null && focused !== current && document.activeElement === document.body) {
      const items = root.current?.querySelectorAll<HTMLElement>('.lagom-RunList-open');
      items?.[Math.min(index.current, items.length - 1)]?.focus();
    }
  }, [focused, current]);
  const noteFocus = (run: IRunInfo): void => {
    index.current = shown.indexOf(run);
    setFocused(run.dir);
  };

  const moveFocus = (event: KeyboardEvent): void => {
    const target = focusTarget(event.key, shown, current);
    const items = root.current?.querySelectorAll<HTMLElement>('.lagom-RunList-open');
    if (target === null || items === undefined) {
      return;
    }
    event.preventDefault();
    items[target]?.focus();
  };
  const item = (run: IRunInfo): VNode => (
    <RunItem
      key={run.dir}
      {...props}
      run={run}
      isCurrent={run.dir === current}
      onFocus={() => noteFocus(run)}
    />
  );

  return (
    <div class="lagom-RunList" ref={root}>
      <Header {...props} />
      {props.error === null ? null : (
        <p class="lagom-RunList-error" role="alert">
          {errorText(props.error, trans)}
        </p>
      )}
      {props.isLoaded && props.error === null && runs.length === 0 ? <Nothing trans={trans} /> : null}
      <div class="lagom-RunList-lists" onKeyDown={moveFocus}>
        <Group title={trans.__('Live')} n={live.length}>
          {live.map(item)}
        </Group>
        <Group title={trans.__('Past')} n={past.length}>
          {past.slice(0, limit).map(item)}
        </Group>
      </div>
      {past.length > limit ? (
        <button type="button" class="lagom-RunList-more" onClick={() => setLimit(limit + PAGE_SIZE)}>
          {trans._n('Show %1 more run', 'Show %1 more runs', Math.min(PAGE_SIZE, past.length - limit))}
        </button>
      ) : null}
    </div>
  );
}

function errorText(error: Error, trans: TranslationBundle): string {
  return error instanceof ExtensionMissingError
    ? trans.__(
        'This Jupyter server has not loaded the extension of lagom_magic, so runs cannot be listed. Install lagom-magic where the server runs, and start it again.'
      )
    : error.message;
}

/** The index of the run that the key leads to; null for other keys. */
function focusTarget(key: string, shown: readonly IRunInfo[], current: string | null): number | null {
  const index = shown.findIndex(run => run.dir === current);
  switch (key) {
    case 'ArrowDown':
      return Math.min(index + 1, shown.length - 1);
    case 'ArrowUp':
      return Math.max(index - 1, 0);
    case 'Home':
      return 0;
    case 'End':
      return shown.length - 1;
    default:
      return null;
  }
}

function Header({ trans, folder, onRefresh }: ISidebarViewProps): VNode {
  return (
    <div class="lagom-RunList-header">
      <div>
        <h2>{trans.__('Lagom runs')}</h2>
        <span class="lagom-RunList-folder" title={trans.__('Runs below this folder are listed')}>
          {folder === '' ? '/' : folder}
        </span>
      </div>
      <IconButton icon={refreshIcon} label={trans.__('Refresh the list of runs')} onClick={onRefresh} />
    </div>
  );
}

function Nothing({ trans }: Pick<ISidebarViewProps, 'trans'>): VNode {
  return (
    <div class="lagom-RunList-nothing">
      <p>{trans.__('No runs in this folder yet.')}</p>
      <p>{trans.__('A run is made by a cell like this one:')}</p>
      <pre>{'%%lagom hpo --trials 20\ndef train(lr: Float(1e-4, 1e-1)):\n    ...'}</pre>
    </div>
  );
}

function Group({ title, n, children }: { title: string; n: number; children: VNode[] }): VNode | null {
  return n === 0 ? null : (
    <section aria-label={title}>
      <h3>
        {title} <span>{n}</span>
      </h3>
      <ul role="list">{children}</ul>
    </section>
  );
}
