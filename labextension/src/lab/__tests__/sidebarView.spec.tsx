/** @jest-environment ./lab/__tests__/environment.cjs */
import { fireEvent, render, screen, within } from '@testing-library/preact';
import { nullTranslator } from '@jupyterlab/translation';

import { SidebarView } from '../sidebarView';
import type { ISidebarViewProps } from '../sidebarView';
import { CommandId } from '../tokens';
import { aLiveRun, aRun } from './runServer';

const LIVE = aLiveRun({ dir: 'live' });
const PAST = aRun({ dir: 'past', experiment: '<b>wine</b>' });

type Rerender = ReturnType<typeof render>['rerender'];

function show(changes: Partial<ISidebarViewProps> = {}): {
  onCommand: jest.Mock;
  props: ISidebarViewProps;
  rerender: Rerender;
} {
  const onCommand = jest.fn();
  const props: ISidebarViewProps = {
    runs: [PAST, LIVE],
    folder: 'notebooks',
    error: null,
    isLoaded: true,
    now: Date.parse(PAST.created_at) / 1000 + 120,
    language: 'en',
    trans: nullTranslator.load('lagom_magic'),
    onCommand,
    onRefresh: jest.fn(),
    ...changes
  };
  const { rerender } = render(<SidebarView {...props} />);
  return { onCommand, props, rerender };
}

test('live runs and past runs are two named lists', () => {
  show();
  const live = within(screen.getByRole('region', { name: 'Live' }));
  expect(live.getAllByRole('listitem')).toHaveLength(1);
  expect(live.getByText('12/30 trials')).toBeTruthy();
  expect(live.getByText('running')).toBeTruthy();
  const past = within(screen.getByRole('region', { name: 'Past' }));
  expect(past.getByText('best 0.9833 accuracy')).toBeTruthy();
  expect(past.getByText('2 minutes ago')).toBeTruthy();
});

test('only a live run may still have a result', () => {
  show({
    runs: [
      aRun({ dir: 'past', best_id: null, best_val: null }),
      aLiveRun({ dir: 'live', best_id: null, best_val: null })
    ]
  });
  const within_ = (name: string) => within(screen.getByRole('region', { name }));
  expect(within_('Past').getByText('no result')).toBeTruthy();
  expect(within_('Live').getByText('no result yet')).toBeTruthy();
});

test('names are text', () => {
  show();
  expect(screen.getByText('<b>wine</b>')).toBeTruthy();
});

test('a live run can be stopped and not deleted; a past one the other way round', () => {
  const { onCommand } = show();
  const [live, past] = screen.getAllByRole('listitem').map(item => within(item));
  fireEvent.click(live.getByRole('button', { name: 'Stop the run' }));
  expect(onCommand).toHaveBeenLastCalledWith(CommandId.stopRun, LIVE);
  expect(live.queryByRole('button', { name: 'Delete the run' })).toBeNull();
  fireEvent.click(past.getByRole('button', { name: 'Delete the run' }));
  expect(onCommand).toHaveBeenLastCalledWith(CommandId.deleteRun, PAST);
  expect(past.queryByRole('button', { name: 'Stop the run' })).toBeNull();
});

test('arrow keys lead from run to run, and one run alone is in the tab order', () => {
  show();
  const [live, past] = document.querySelectorAll<HTMLElement>('.lagom-RunList-open');
  expect([live.tabIndex, past.tabIndex]).toEqual([0, -1]);
  live.focus();
  fireEvent.keyDown(live, { key: 'ArrowDown' });
  expect(document.activeElement).toBe(past);
});

test('when the run with the focus is gone its neighbour has the focus', () => {
  const { rerender, props } = show({ runs: ['a', 'b', 'c'].map(dir => aRun({ dir })) });
  document.querySelectorAll<HTMLElement>('.lagom-RunList-open')[1].focus();
  rerender(<SidebarView {...props} runs={['a', 'c'].map(dir => aRun({ dir }))} />);
  expect(document.activeElement?.getAttribute('title')).toBe('c');
});

test('an empty folder says how a run is made', () => {
  show({ runs: [] });
  expect(screen.getByText(/%%lagom hpo/)).toBeTruthy();
});

test('an error is an alert, with the runs still there', () => {
  show({ error: new Error('The server is gone.') });
  expect(screen.getByRole('alert').textContent).toBe('The server is gone.');
  expect(screen.getAllByRole('listitem')).toHaveLength(2);
});

test('many past runs are shown in parts', () => {
  show({ runs: Array.from({ length: 120 }, (_, index) => aRun({ dir: `run ${index}` })) });
  expect(screen.getAllByRole('listitem')).toHaveLength(50);
  fireEvent.click(screen.getByRole('button', { name: 'Show 50 more runs' }));
  expect(screen.getAllByRole('listitem')).toHaveLength(100);
});
