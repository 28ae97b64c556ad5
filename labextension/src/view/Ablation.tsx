/** The components of an ablation beside the baseline: what leaving each out does to a metric, and what it would save. */
import { useState } from 'preact/hooks';

import {
  EVIDENCE_MARKS,
  baselineOf,
  evidenceWord,
  formatAmount,
  formatInterval,
  formatP,
  formatSigned,
  interactionWords,
  keyWords,
  savingWords
} from './ablationWords';
import { useView } from './context';
import { formatDuration, formatMetric, formatNumber, NOTHING, oneLine } from './format';
import { IntervalBar, IntervalScale } from './IntervalBar';
import { NAME_LIMIT, TRIAL_ICONS, directionArrow, trialStateWord } from './words';
import { BASELINE } from '../model/ablation';
import type { IAblation, IComponent, IDifference, IMetricTable } from '../model/ablation';
import type { IRun } from '../model/messages';

export interface IAblationProps {
  run: IRun;
  ablation: IAblation;
  /** Show the trials of this component. */
  onTrials: (component: string) => void;
}

export function Ablation({ run, ablation, onTrials }: IAblationProps) {
  const { t } = useView();
  const [chosen, setChosen] = useState('');
  const metric = ablation.metrics.find(metric => metric.name === chosen) ?? ablation.metrics[0];
  if (metric === undefined) return null;
  const isCounted = metric === ablation.metrics[0];
  const name = `${oneLine(metric.name, NAME_LIMIT)}${isCounted ? ` ${directionArrow(run)}` : ''}`;
  const base = baselineOf(ablation, metric);
  const hasParameters = ablation.components.some(component => component.parameters !== null);
  const others = metric.rows.filter(row => ablation.components[row.at].name !== BASELINE);
  return (
    <section class="lagom-Ablation" aria-label={t.__('Components')}>
      <div class="lagom-Toolbar">
        <h3>{t.__('What leaving out a component does')}</h3>
        <span class="lagom-grow" />
        {ablation.metrics.length > 1 && (
          <>
            <span aria-hidden="true" class="lagom-Toolbar-note">
              {t.__('metric')}
            </span>
            <select
              class="lagom-Select"
              aria-label={t.__('metric')}
              value={metric.name}
              onInput={event => setChosen((event.currentTarget as HTMLSelectElement).value)}
              onKeyDown={event => event.stopPropagation()}
            >
              {ablation.metrics.map(({ name }) => (
                <option key={name} value={name}>
                  {oneLine(name, NAME_LIMIT)}
                </option>
              ))}
            </select>
          </>
        )}
      </div>
      <div class="lagom-Ablation-box" tabIndex={0} role="region" aria-label={t.__('Table of components')}>
        <table>
          <caption class="lagom-unseen">
            {t.__('Components by what leaving them out does to %1', oneLine(metric.name, NAME_LIMIT))}
          </caption>
          <thead>
            <tr>
              <th scope="col" class="lagom-mod-text">
                {t.__('component')}
              </th>
              <th scope="col" class="lagom-mod-wide">
                {name}
              </th>
              <th scope="col" class="lagom-mod-text">
                {t.__('without it')}
              </th>
              <th scope="col" class="lagom-mod-bar">
                {t.__('Δ and its interval')}
              </th>
              <th scope="col" title={t.__('Mean of the paired differences to the baseline, same seeds')}>
                {t.__('Δ, 95 % CI')}
              </th>
              <th scope="col" title={t.__('Paired t-test, Holm-corrected; below 0.05 there is evidence')}>
                {t.__('p (Holm)')}
              </th>
              <th
                scope="col"
                class="lagom-mod-wide"
                title={t.__('Repeats that are paired with the baseline’s')}
              >
                n
              </th>
              {hasParameters && <th scope="col">{t.__('parameters')}</th>}
              <th scope="col">{ablation.unit === 'step' ? t.__('time a step') : t.__('time a trial')}</th>
            </tr>
          </thead>
          <tbody>
            {base !== null && (
              <tr class="lagom-mod-baseline">
                <th scope="row">
                  <Name component={base.component} onTrials={onTrials} />
                </th>
                <td class="lagom-mod-wide">
                  {formatMetric(base.row.mean)}
                  {base.row.sd !== null && <small>{`± ${formatNumber(base.row.sd, 2)}`}</small>}
                </td>
                <td class="lagom-mod-text lagom-mod-words">
                  <State component={base.component} />
                </td>
                <td class="lagom-mod-bar">
                  {others.some(row => row.delta !== null) && <IntervalScale axis={metric.axis} />}
                </td>
                <td />
                <td />
                <td class="lagom-mod-wide">{base.row.n}</td>
                {hasParameters && <td>{formatAmount(base.component.parameters)}</td>}
                <td>{formatDuration(base.component.seconds)}</td>
              </tr>
            )}
            {others.map(row => (
              <Row
                key={row.at}
                component={ablation.components[row.at]}
                row={row}
                metric={metric}
                base={base?.component ?? null}
                hasParameters={hasParameters}
                onTrials={onTrials}
              />
            ))}
          </tbody>
        </table>
      </div>
      {ablation.notices.length > 0 && (
        <ul class="lagom-Notices">
          {ablation.notices.map(text => (
            <li key={text}>{oneLine(text, 400)}</li>
          ))}
        </ul>
      )}
      {ablation.n_left_out > 0 && (
        <p class="lagom-Ablation-note">
          {t._n('… and %1 more component', '… and %1 more components', ablation.n_left_out)}
        </p>
      )}
      {ablation.n_components > 0 && <p class="lagom-Ablation-note">{keyWords(t)}</p>}
    </section>
  );
}

interface IRowProps {
  component: IComponent;
  row: IDifference;
  metric: IMetricTable;
  base: IComponent | null;
  hasParameters: boolean;
  onTrials: (component: string) => void;
}

function Row({ component, row, metric, base, hasParameters, onTrials }: IRowProps) {
  const { t } = useView();
  const delta = formatSigned(row.delta, metric.decimals);
  const interval = formatInterval(row.ci_low, row.ci_high, metric.decimals);
  const evidence = `lagom-evidence-${row.evidence ?? 'unknown'}`;
  const remarks = [
    interactionWords(t, row, metric.decimals),
    component.change === '' ? '' : oneLine(component.change, 120)
  ];
  return (
    <>
      <tr class={component.reason === '' ? '' : 'lagom-mod-failing'}>
        <th scope="row">
          <Name component={component} onTrials={onTrials} />
          {remarks.map((text, at) => text !== '' && <small key={at}>{text}</small>)}
        </th>
        <td class="lagom-mod-wide">{formatMetric(row.mean)}</td>
        <td class={`lagom-mod-text lagom-mod-words ${evidence}`}>
          {row.evidence !== null && (
            <>
              <span aria-hidden="true" class="lagom-Icon">
                {EVIDENCE_MARKS[row.evidence]}
              </span>
              {evidenceWord(t, row.evidence)}
            </>
          )}
          {row.evidence === null && component.state === 'COMPLETE' && NOTHING}
          <State component={component} />
        </td>
        <td class={`lagom-mod-bar ${evidence}`}>
          <IntervalBar row={row} axis={metric.axis} label={`Δ ${[delta, interval].join(' ').trim()}`} />
        </td>
        <td>
          {delta}
          {interval !== '' && <small>{interval}</small>}
        </td>
        <td>{formatP(row.p_holm)}</td>
        <td class="lagom-mod-wide">{row.n}</td>
        {hasParameters && (
          <td>
            {formatAmount(component.parameters)}
            <Saving value={component.parameters} base={base?.parameters ?? null} />
          </td>
        )}
        <td>
          {formatDuration(component.seconds)}
          <Saving value={component.seconds} base={base?.seconds ?? null} />
        </td>
      </tr>
      {component.reason !== '' && (
        <tr class="lagom-mod-why">
          <td colSpan={hasParameters ? 9 : 8}>{oneLine(component.reason, 300)}</td>
        </tr>
      )}
    </>
  );
}

function Name({ component, onTrials }: Pick<IRowProps, 'component' | 'onTrials'>) {
  const { t } = useView();
  return (
    <button
      type="button"
      class="lagom-Link"
      title={t.__('Show the trials of this component')}
      onClick={() => onTrials(component.name)}
    >
      {oneLine(component.name, NAME_LIMIT)}
    </button>
  );
}

/** The state of what is not complete. */
function State({ component }: { component: IComponent }) {
  const { t } = useView();
  if (component.state === 'COMPLETE') return null;
  return (
    <small class={`lagom-state-${component.state.toLowerCase()}`}>
      <span aria-hidden="true" class="lagom-Icon">
        {TRIAL_ICONS[component.state]}
      </span>
      {trialStateWord(t, component.state)}
    </small>
  );
}

function Saving({ value, base }: { value: number | null; base: number | null }) {
  const { t } = useView();
  const words = savingWords(t, value, base);
  return words === '' ? null : <small>{words}</small>;
}
