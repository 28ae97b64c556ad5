/**
 * One run in the side bar: its facts as a button that opens it, and the buttons for what else can be done.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import { copyIcon, deleteIcon, stopIcon } from '@jupyterlab/ui-components';
import type { LabIcon } from '@jupyterlab/ui-components';
import type { VNode } from 'preact';
import { useEffect, useRef } from 'preact/hooks';

import { formatDuration, formatMetric } from '../view/format';
import { boardIcon } from './icons';
import { relativeTime } from './relativeTime';
import { progressText, shownState, stateIcon, stateWord } from './runInfo';
import type { IRunInfo } from './runInfo';
import { CommandId } from './tokens';

export interface IRunItemProps {
  run: IRunInfo;
  /** Whether the run is in the tab order; one of a list is. */
  isCurrent: boolean;
  /** Seconds since the epoch. */
  now: number;
  /** A BCP 47 tag. */
  language: string;
  trans: TranslationBundle;
  onFocus(): void;
  onCommand(command: string, run: IRunInfo): void;
}

export function RunItem({ run, isCurrent, onFocus, onCommand, trans, language, now }: IRunItemProps): VNode {
  const state = shownState(run);
  const tabIndex = isCurrent ? 0 : -1;
  const action = (icon: LabIcon, label: string, command: string): VNode => (
    <IconButton icon={icon} label={label} tabIndex={tabIndex} onClick={() => onCommand(command, run)} />
  );
  const started = new Date(run.created_at);
  return (
    <li
      class="lagom-RunList-item"
      data-dir={run.dir}
      data-live={run.is_live}
      data-state={state}
      onFocusCapture={onFocus}
    >
      <button
        type="button"
        class="lagom-RunList-open"
        tabIndex={tabIndex}
        title={run.dir}
        onClick={() => onCommand(CommandId.openRun, run)}
        onKeyDown={event => event.key === 'Delete' && onCommand(CommandId.deleteRun, run)}
      >
        <span class="lagom-RunList-line">
          <span class="lagom-RunList-name">{run.experiment}</span>
          <span class="lagom-RunList-state">
            <span aria-hidden="true">{stateIcon(run)}</span> {stateWord(run, trans)}
          </span>
        </span>
        <Progress run={run} trans={trans} />
        <span class="lagom-RunList-line lagom-RunList-facts">
          <Best run={run} trans={trans} />
          <time dateTime={started.toISOString()} title={started.toLocaleString(language)}>
            {relativeTime(started.getTime() / 1000, now, language)}
          </time>
        </span>
      </button>
      <span
        class="lagom-RunList-actions"
        role="group"
        aria-label={trans.__('Actions for %1', run.experiment)}
      >
        {run.is_live ? action(stopIcon, trans.__('Stop the run'), CommandId.stopRun) : null}
        {action(boardIcon, trans.__('Open TensorBoard'), CommandId.openBoard)}
        {action(copyIcon, trans.__('Copy the path of the run'), CommandId.copyPath)}
        {run.is_live ? null : action(deleteIcon, trans.__('Delete the run'), CommandId.deleteRun)}
      </span>
    </li>
  );
}

function Best({ run, trans }: Pick<IRunItemProps, 'run' | 'trans'>): VNode {
  if (run.kind === 'ablate') {
    return <span>{run.metric === null ? trans.__('ablation') : trans.__('ablation by %1', run.metric)}</span>;
  }
  if (run.best_val === null) {
    return <span>{run.is_live ? trans.__('no result yet') : trans.__('no result')}</span>;
  }
  const value = formatMetric(run.best_val);
  return (
    <span>
      {run.metric === null ? trans.__('best %1', value) : trans.__('best %1 %2', value, run.metric)}
    </span>
  );
}

function Progress({ run, trans }: Pick<IRunItemProps, 'run' | 'trans'>): VNode {
  const share = run.n_trials === null || run.n_trials === 0 ? null : Math.min(1, run.n_done / run.n_trials);
  return (
    <span class="lagom-RunList-line lagom-RunList-progress">
      {share !== null && run.is_live ? (
        <span class="lagom-RunList-bar" aria-hidden="true">
          <span style={{ width: `${100 * share}%` }} />
        </span>
      ) : null}
      <span class="lagom-RunList-count">{progressWords(run, trans)}</span>
    </span>
  );
}

/** '12/30 trials' of a live run; '30 trials · 1m 12s' of a past one that did them all. */
function progressWords(run: IRunInfo, trans: TranslationBundle): string {
  const trials =
    run.n_done === run.n_trials
      ? trans._n('%1 trial', '%1 trials', run.n_done)
      : trans.__('%1 trials', progressText(run));
  return run.duration_s === null ? trials : trans.__('%1 · %2', trials, formatDuration(run.duration_s));
}

interface IIconButtonProps {
  icon: LabIcon;
  label: string;
  tabIndex?: number;
  onClick(): void;
}

export function IconButton({ icon, label, tabIndex, onClick }: IIconButtonProps): VNode {
  const ref = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (ref.current !== null) {
      icon.element({ container: ref.current });
    }
  }, [icon]);
  return (
    <button
      type="button"
      class="lagom-RunList-button"
      ref={ref}
      title={label}
      aria-label={label}
      tabIndex={tabIndex}
      onClick={onClick}
    />
  );
}
