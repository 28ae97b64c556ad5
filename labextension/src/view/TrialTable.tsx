/** The trials: sorted by the headers, filtered by words, opened by click or key; only rows in sight are in the page. */
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';

import { FIXED_COLUMNS, sorted } from './columns';
import type { IColumn, IColumns, ISorting } from './columns';
import { endingAtTheEdge } from './columnWidths';
import { useView } from './context';
import { parseFilter, vocabularyOf } from './filter';
import { formatCount, formatHparam, oneLine } from './format';
import { useLatest, useSize } from './hooks';
import { lastStep, valueAxis, valueRange } from './ranges';
import type { IAxes } from './Sparkline';
import { TrialRow, fixedClass } from './TrialRow';
import { rowsInSight } from './virtual';
import type { IRun, ITrial } from '../model/messages';

export const ROW_HEIGHT = 27;
const PAGE_ROWS = 10;

export interface ITrialTableProps {
  run: IRun;
  trials: readonly ITrial[];
  columns: IColumns;
  /** Pixels that each column needs. */
  neededWidths: readonly number[];
  now: number;
  sorting: ISorting;
  onSort: (sorting: ISorting) => void;
  filter: string;
  onFilter: (text: string) => void;
  pickedId: number | null;
  onHover: (trial_id: number | null) => void;
  onOpen: (trial_id: number) => void;
}

export function TrialTable(props: ITrialTableProps) {
  const { run, trials, columns, neededWidths, now, sorting, onSort } = props;
  const { filter, onFilter, pickedId, onHover, onOpen } = props;
  const { t } = useView();
  const box = useRef<HTMLDivElement>(null);
  const { width, height } = useSize(box, { width: 640, height: 320 });
  const [scrollTop, setScrollTop] = useState(0);
  const [scrollLeft, setScrollLeft] = useState(0);
  /** The row that the keyboard is to go to, when it is not in the page yet. */
  const [wanted, setWanted] = useState<number | null>(null);
  const [current, setCurrent] = useState<number | null>(null);

  const vocabulary = useMemo(() => vocabularyOf(t, run, trials), [t, run, trials]);
  const chosen = useMemo(() => parseFilter(filter, vocabulary), [filter, vocabulary]);
  const rows = useMemo(
    () => sorted(trials.filter(chosen.keeps), columns, sorting, now),
    // The clock moves rows only when they are sorted by it.
    [trials, chosen, columns, sorting, sorting.key === 'time' ? now : 0]
  );
  const axes = useMemo(() => axesOf(run, trials), [run, trials]);
  const widths = endingAtTheEdge(neededWidths, width);
  const total = widths.reduce((sum, one) => sum + one, 0);
  const leftsText = widths
    .slice(0, FIXED_COLUMNS)
    .map((_, at) => widths.slice(0, at).reduce((sum, one) => sum + one, 0))
    .join();
  const lefts = useMemo(() => leftsText.split(',').map(Number), [leftsText]);
  const { begin, end } = rowsInSight(rows.length, ROW_HEIGHT, scrollTop, height);
  const shown = rows.slice(begin, end);
  // A row that leaves from under the pointer tells nobody.
  const pointed = useRef<number | null>(null);
  const point = useCallback(
    (trial_id: number | null) => {
      pointed.current = trial_id;
      onHover(trial_id);
    },
    [onHover]
  );
  const isPointedGone = pointed.current !== null && shown.every(row => row.id !== pointed.current);
  useEffect(() => {
    if (isPointedGone) point(null);
  }, [isPointedGone, point]);
  const focusRow = rows.some(row => row.id === current) ? current : (rows[begin]?.id ?? null);

  useLayoutEffect(() => {
    if (wanted === null || box.current === null) return;
    const button = box.current.querySelector<HTMLButtonElement>(`button[data-row='${wanted}']`);
    if (button === null) return;
    button.focus({ preventScroll: true });
    setWanted(null);
  });

  const goTo = (index: number) => {
    const target = Math.min(rows.length - 1, Math.max(0, index));
    const element = box.current;
    if (rows[target] === undefined || element === null) return;
    const top = target * ROW_HEIGHT;
    const room = (element.clientHeight || height) - ROW_HEIGHT; // the head covers one row
    if (top < element.scrollTop) element.scrollTop = top;
    else if (top + ROW_HEIGHT > element.scrollTop + room) element.scrollTop = top + ROW_HEIGHT - room;
    setScrollTop(element.scrollTop);
    setCurrent(rows[target].id);
    setWanted(rows[target].id);
  };
  const latest = useLatest({ rows, goTo });
  const onKeyDown = (event: KeyboardEvent) => {
    const row = (event.target as Element).closest('tbody tr button')?.getAttribute('data-row');
    if (row === null || row === undefined) return;
    const index = latest.current.rows.findIndex(trial => trial.id === Number(row));
    const target = keyTarget(event.key, index, latest.current.rows.length);
    if (target === null) return;
    event.preventDefault();
    event.stopPropagation();
    latest.current.goTo(target);
  };

  return (
    <section class="lagom-Trials" aria-label={t.__('Trials')}>
      <FilterBar filter={filter} onFilter={onFilter} nShown={rows.length} nAll={trials.length} />
      {chosen.unknown.length > 0 && (
        <p class="lagom-Trials-unknown" role="status">
          {t.__(
            'no column “%1”; there are %2',
            oneLine(chosen.unknown[0], 40),
            vocabulary.names.map(name => oneLine(name, 24)).join(', ')
          )}
        </p>
      )}
      <div
        class={`lagom-Trials-frame${scrollLeft > 1 ? ' lagom-mod-before' : ''}${
          scrollLeft + width < total - 1 ? ' lagom-mod-after' : ''
        }`}
        style={{ '--lagom-width': `${width}px` }}
      >
        <div
          class="lagom-Trials-box"
          ref={box}
          onScroll={event => {
            const element = event.currentTarget as HTMLElement;
            setScrollTop(element.scrollTop);
            setScrollLeft(element.scrollLeft);
          }}
          onPointerLeave={() => point(null)}
          onKeyDown={onKeyDown}
        >
          <table aria-rowcount={rows.length + 1}>
            <caption class="lagom-unseen">{t.__('Trials; arrow keys move, Enter opens')}</caption>
            <colgroup>
              {columns.shown.map((column, index) => (
                <col key={column.key} style={{ width: `${widths[index]}px` }} />
              ))}
            </colgroup>
            <thead>
              <tr aria-rowindex={1}>
                {columns.shown.map((column, at) => (
                  <HeaderCell
                    key={column.key}
                    column={column}
                    fixed={fixedClass(at)}
                    left={lefts[at]}
                    sorting={sorting}
                    onSort={onSort}
                  />
                ))}
              </tr>
            </thead>
            <tbody>
              {begin > 0 && <Spacer nRows={begin} />}
              {shown.map((trial, index) => (
                <TrialRow
                  key={trial.id}
                  index={begin + index + 2}
                  trial={trial}
                  columns={columns}
                  lefts={lefts}
                  axes={axes}
                  isBest={trial.id === run.best_id}
                  isPicked={trial.id === pickedId}
                  isTabStop={trial.id === focusRow}
                  now={trial.state === 'RUNNING' ? now : 0}
                  onHover={point}
                  onOpen={onOpen}
                />
              ))}
              {end < rows.length && <Spacer nRows={rows.length - end} />}
            </tbody>
          </table>
          {rows.length === 0 && (
            <p class="lagom-Empty">
              {trials.length === 0 ? t.__('No trial has started yet.') : t.__('No trial matches.')}
            </p>
          )}
        </div>
      </div>
      {columns.constant.length > 0 && (
        <p class="lagom-Trials-constant">
          {t.__(
            'the same in all trials: %1',
            columns.constant.map(([name, value]) => `${oneLine(name, 24)} ${formatHparam(value)}`).join(' · ')
          )}
        </p>
      )}
    </section>
  );
}

interface IFilterBarProps {
  filter: string;
  onFilter: (text: string) => void;
  nShown: number;
  nAll: number;
}

function FilterBar({ filter, onFilter, nShown, nAll }: IFilterBarProps) {
  const { t } = useView();
  return (
    <div class="lagom-Toolbar">
      <input
        type="search"
        class="lagom-Input"
        value={filter}
        placeholder={t.__('Filter: state:failed lr<0.01 text')}
        aria-label={t.__('Filter trials')}
        onInput={event => onFilter((event.currentTarget as HTMLInputElement).value)}
        onKeyDown={event => event.stopPropagation()}
      />
      <span class="lagom-Toolbar-note">
        {filter.trim() === ''
          ? t._n('%2 trial', '%2 trials', nAll, formatCount(nAll))
          : t._n('%2 of %3 trial', '%2 of %3 trials', nAll, formatCount(nShown), formatCount(nAll))}
      </span>
    </div>
  );
}

interface IHeaderCellProps {
  column: IColumn;
  /** Its classes when it stays while the table scrolls sideways, and where. */
  fixed: string;
  left: number | undefined;
  sorting: ISorting;
  onSort: (s: ISorting) => void;
}

function HeaderCell({ column, fixed, left, sorting, onSort }: IHeaderCellProps) {
  const className = `${column.isText ? 'lagom-mod-text' : ''}${fixed}`;
  const style = fixed === '' ? undefined : { left: `${left ?? 0}px` };
  if (column.sortValue === null) {
    return (
      <th scope="col" class={className} style={style}>
        {column.title}
      </th>
    );
  }
  const isSorted = sorting.key === column.key;
  const isDescending = isSorted && sorting.isDescending;
  return (
    <th
      scope="col"
      class={className}
      style={style}
      aria-sort={!isSorted ? 'none' : isDescending ? 'descending' : 'ascending'}
    >
      <button
        type="button"
        title={column.title}
        onClick={() =>
          onSort({ key: column.key, isDescending: isSorted ? !isDescending : column.key === 'value' })
        }
      >
        {column.title}
        <span aria-hidden="true" class="lagom-Sort">
          {!isSorted ? '' : isDescending ? '▾' : '▴'}
        </span>
      </button>
    </th>
  );
}

function Spacer({ nRows }: { nRows: number }) {
  return (
    <tr aria-hidden="true" class="lagom-Spacer">
      <td style={{ height: `${nRows * ROW_HEIGHT}px` }} />
    </tr>
  );
}

function axesOf(run: IRun, trials: readonly ITrial[]): IAxes {
  const best = run.best_id === null ? null : (trials.find(trial => trial.id === run.best_id) ?? null);
  const [low, high] = valueAxis(...(valueRange(trials, best?.value ?? null) ?? [0, 1]), 1).domain;
  return { low, high, lastStep: lastStep(trials) };
}

function keyTarget(key: string, index: number, nRows: number): number | null {
  switch (key) {
    case 'ArrowDown':
      return index + 1;
    case 'ArrowUp':
      return index - 1;
    case 'PageDown':
      return index + PAGE_ROWS;
    case 'PageUp':
      return index - PAGE_ROWS;
    case 'Home':
      return 0;
    case 'End':
      return nRows - 1;
    default:
      return null;
  }
}
