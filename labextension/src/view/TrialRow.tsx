/** One row of the trial table: the state as icon and word, the curve as a picture, the rest as text. */
import { memo } from 'preact/compat';

import type { IColumn, IColumns } from './columns';
import { useView } from './context';
import { oneLine } from './format';
import { Sparkline } from './Sparkline';
import type { IAxes } from './Sparkline';
import { TRIAL_ICONS, trialLabel } from './words';
import type { ITrial } from '../model/messages';

export interface ITrialRowProps {
  index: number;
  trial: ITrial;
  columns: IColumns;
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
  axes,
  isBest,
  isPicked,
  isTabStop,
  now,
  onHover,
  onOpen
}: ITrialRowProps) {
  const { t } = useView();
  const state = `lagom-state-${trial.state.toLowerCase()}`;
  const cell = (column: IColumn) => {
    switch (column.key) {
      case 'id':
        return (
          <th key="id" scope="row">
            <button type="button" data-row={trial.id} tabIndex={isTabStop ? 0 : -1} aria-expanded={isPicked}>
              {trialLabel(trial)}
              {isBest && <span title={t.__('best')}> ★</span>}
            </button>
          </th>
        );
      case 'state':
        return (
          <td key="state" class={`lagom-mod-text lagom-mod-words ${state}`}>
            <span aria-hidden="true" class="lagom-Icon">
              {TRIAL_ICONS[trial.state]}
            </span>
            {column.text(trial, now)}
          </td>
        );
      case 'curve':
        return (
          <td key="curve" class={`lagom-mod-curve ${state}`}>
            {trial.error !== null && trial.curve.length < 2 ? (
              <span
                class="lagom-mod-words"
                title={oneLine(`${trial.error.kind}: ${trial.error.message}`, 300)}
              >
                {oneLine(trial.error.kind, 24)}
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
            class={column.isText ? 'lagom-mod-text' : ''}
            title={text.length > 16 ? text : undefined}
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
