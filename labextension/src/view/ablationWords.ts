/** How an ablation's numbers are written, and what is said of them: as in display/ablation.py. Pure. */
import { formatCount, formatMetric, formatNumber, NOTHING } from './format';
import { BASELINE } from '../model/ablation';
import type { Evidence, IAblation, IComponent, IDifference, IMetricTable } from '../model/ablation';
import type { ITranslator } from '../i18n';

/** The same as a sign, which is also the shape on the interval. */
export const EVIDENCE_MARKS: Readonly<Record<Evidence, string>> = {
  worse: '●',
  better: '◆',
  lower: '▼',
  higher: '▲',
  none: '○'
};

/** Of a column that is called 'without it'. */
export function evidenceWord(t: ITranslator, evidence: Evidence): string {
  switch (evidence) {
    case 'worse':
      return t.__('worse');
    case 'better':
      return t.__('better');
    case 'lower':
      return t.__('lower');
    case 'higher':
      return t.__('higher');
    case 'none':
      return t.__('no evidence');
  }
}

/** A difference: '+0.0123', '-0.0040', '0.0000', '–' for null. */
export function formatSigned(value: number | null, decimals: number | null): string {
  if (value === null) return NOTHING;
  if (decimals === null || !Number.isFinite(value)) return `${value > 0 ? '+' : ''}${formatNumber(value, 3)}`;
  const text = Math.abs(value).toFixed(decimals);
  return Number(text) === 0 ? text : `${value > 0 ? '+' : '-'}${text}`;
}

/** '[-0.0150, -0.0096]'; '' without one. */
export function formatInterval(low: number | null, high: number | null, decimals: number | null): string {
  return low === null || high === null
    ? ''
    : `[${formatSigned(low, decimals)}, ${formatSigned(high, decimals)}]`;
}

/** '0.012', '< 0.001', '–' for null. */
export function formatP(p: number | null): string {
  if (p === null) return NOTHING;
  return p < 0.001 ? '< 0.001' : p.toFixed(3);
}

/** How many parameters: '12,345', '11.7 M'. */
export function formatAmount(n: number | null): string {
  if (n === null) return NOTHING;
  for (const [size, sign] of [
    [1e9, 'G'],
    [1e6, 'M']
  ] as const) {
    if (n >= 0.9995 * size) {
      const text = n < 1000 * size ? String(Number((n / size).toPrecision(3))) : formatCount(n / size);
      return `${text} ${sign}`;
    }
  }
  return formatCount(n);
}

/** The difference to the baseline as a share of it: '-12 %', '+0.3 %', 'about the same'; '' where it cannot be said. */
export function savingWords(t: ITranslator, value: number | null, baseline: number | null): string {
  if (value === null || baseline === null || baseline === 0) return '';
  const percent = (100 * (value - baseline)) / baseline;
  if (percent === 0) return t.__('the same');
  const size = Math.abs(percent);
  if (size < 0.05) return t.__('about the same');
  return `${percent > 0 ? '+' : '-'}${size.toFixed(size < 1 ? 1 : 0)} %`;
}

/** Of a pair: 'interaction -0.0040 [-0.0061, -0.0019], p 0.012'; '' of what is none. */
export function interactionWords(t: ITranslator, row: IDifference, decimals: number | null): string {
  if (row.interaction === null) return '';
  const interval = formatInterval(row.interaction_low, row.interaction_high, decimals);
  const p = row.interaction_p_holm === null ? '' : `, p ${formatP(row.interaction_p_holm)}`;
  return `${t.__('interaction %1', formatSigned(row.interaction, decimals))} ${interval}${p}`;
}

/** The baseline and its numbers; null before it has begun. */
export function baselineOf(
  ablation: IAblation | null,
  metric: IMetricTable | undefined
): { component: IComponent; row: IDifference } | null {
  const at = ablation?.components.findIndex(component => component.name === BASELINE) ?? -1;
  const row = metric?.rows.find(row => row.at === at);
  return ablation === null || row === undefined ? null : { component: ablation.components[at], row };
}

/** '0.9812 ± 0.0021'; '–' before it is known. */
export function baselineWords(ablation: IAblation | null): string {
  const row = baselineOf(ablation, ablation?.metrics[0])?.row;
  if (row === undefined || row.mean === null) return NOTHING;
  return row.sd === null ? formatMetric(row.mean) : `${formatMetric(row.mean)} ± ${formatNumber(row.sd, 2)}`;
}

/** 'baseline, 5 repeats (± sd) · evidence for 3 of 7 components' */
export function baselineDetail(t: ITranslator, ablation: IAblation | null): string {
  const row = baselineOf(ablation, ablation?.metrics[0])?.row;
  const baseline =
    row === undefined || row.mean === null
      ? t.__('baseline: none')
      : `${t._n('baseline, %1 repeat', 'baseline, %1 repeats', row.n)}${row.sd === null ? '' : ` ${t.__('(± sd)')}`}`;
  return `${baseline} · ${evidenceSummary(t, ablation)}`;
}

/** What the numbers are. */
export function keyWords(t: ITranslator): string {
  return [
    t.__(
      'Δ: mean paired difference over the n repeats that both have, same seeds; where the baseline has more, it is not the difference of the means.'
    ),
    t.__('CI: 95 %, t, not corrected. p: paired t-test, Holm-corrected; evidence is p < 0.05.'),
    t.__('Time: median without each worker’s first trial, not tested.')
  ].join(' ');
}

/** 'evidence for 3 of 7 components'; before anything can be said, that. */
export function evidenceSummary(t: ITranslator, ablation: IAblation | null): string {
  if (ablation === null || ablation.n_components === 0) return t.__('no component');
  if (ablation.n_judged === 0) return t.__('no interval');
  return t._n(
    'evidence for %2 of %1 component',
    'evidence for %2 of %1 components',
    ablation.n_judged,
    formatCount(ablation.n_with_evidence)
  );
}
