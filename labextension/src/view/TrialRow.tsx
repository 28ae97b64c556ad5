/** One row of the trial table: the state as icon and word, the curve as a picture, the rest as text. */
import { memo } from 'preact/compat';

import { FIXED_COLUMNS } from './columns';
import type { IColumn, IColumns } from './columns';
import { useView } from './context';
import { Sparkline } from './Sparkline';
import type { IAxes } from './Sparkline';
import { TRIAL_ICONS, errorWords, trialLabel } from './words';
import type { ITrial } from '../model/messages';

/** The classes of a cell that stays when the table scrolls sideways; '' for others. */
export function fixedClass(at: number): string {
  if (at >= FIXED_COLUMNS) return '';
  return ` lagom-mod-fixed${at === FIXED_COLUMNS - 1 ? ' lagom-mod-last' : ''}`;
}

export interface ITrialRowProps {
  index: number;
  trial: ITrial;
  columns: IColumns;
  /** Where the columns begin that stay when the table scrolls sideways. */
  lefts: readonly number[];
  axes: IAxes;
  isBest: boolean;
  isPicked: boolean;
  isTabStop: boolean;
  now: number;
  onHover: (trial_id: number | null) => void;
  onOpen: (trial_id: number) => void;
}

export const TrialRow = memo(function TrialRow({
  index,
  trial,
  columns,
  lefts,
  axes,
  isBest,
  isPicked,
  isTabStop,
  now,
  onHover,
  onOpen
}: ITrialRowProps) {
  const { t } = useView();
  const warnings = t._n('%1 warning', '%1 warnings', trial.n_warnings);
  const state = `lagom-state-${trial.state.toLowerCase()}`;
  const cell = (column: IColumn, at: number) => {
    const fixed = fixedClass(at);
    const style = fixed === '' ? undefined : { left: `${lefts[at]}px` };
    switch (column.key) {
      case 'id':
        return (
          <th key="id" scope="row" class={fixed} style={style}>
            <button type="button" data-row={trial.id} tabIndex={isTabStop ? 0 : -1} aria-expanded={isPicked}>
              {trialLabel(trial)}
              {isBest && <span title={t.__('best')}> ★</span>}
            </button>
          </th>
        );
      case 'state':
        return (
          <td key="state" class={`lagom-mod-text lagom-mod-words ${state}${fixed}`} style={style}>
            <span aria-hidden="true" class="lagom-Icon">
              {TRIAL_ICONS[trial.state]}
            </span>
            {column.text(trial, now)}
            {trial.n_warnings > 0 && (
              <span role="img" aria-label={warnings} title={warnings}>
                {' ⚠'}
              </span>
            )}
          </td>
        );
      case 'curve':
        return (
          <td key="curve" class={`lagom-mod-curve ${state}`}>
            {trial.error !== null ? (
              <span class="lagom-mod-words" title={errorWords(t, trial.error)}>
                {column.text(trial, now)}
              </span>
            ) : (
              <Sparkline points={trial.curve} axes={axes} />
            )}
          </td>
        );
      default: {
        const text = column.text(trial, now);
        return (
          <td
            key={column.key}
            class={`${column.isText ? 'lagom-mod-text' : ''}${fixed}`}
            style={style}
            title={column.hint?.(trial) || (text.length > 16 ? text : undefined)}
          >
            {text}
          </td>
        );
      }
    }
  };
  return (
    <tr
      aria-rowindex={index}
      class={`${isBest ? 'lagom-mod-best' : ''}${isPicked ? ' lagom-mod-picked' : ''}`}
      onClick={() => onOpen(trial.id)}
      onPointerEnter={() => onHover(trial.id)}
    >
      {columns.shown.map(cell)}
    </tr>
  );
});
