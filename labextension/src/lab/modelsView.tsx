/**
 * The models of a folder in the side bar: their versions, each with a way to its run and to its data.
 */
import type { TranslationBundle } from '@jupyterlab/translation';
import type { VNode } from 'preact';
import { useState } from 'preact/hooks';

import { oneLine, visible } from '../view/format';
import { byName, metricsText } from './modelInfo';
import type { IModelInfo, IModelInput } from './modelInfo';
import { relativeTime } from './relativeTime';

/** Versions that are shown at first, and that each 'show more' adds. */
const PAGE_SIZE = 10;
const NAME_LIMIT = 60;

export interface IModelsViewProps {
  models: readonly IModelInfo[];
  error: Error | null;
  /** Seconds since the epoch. */
  now: number;
  /** A BCP 47 tag. */
  language: string;
  trans: TranslationBundle;
  /** Open the run in a folder below the server's root. */
  onRun(dir: string): void;
  /** Open a file below the server's root. */
  onFile(path: string): void;
}

type Shared = Omit<IModelsViewProps, 'models' | 'error'>;

/** Nothing at all where there are no models. */
export function ModelsView({ models, error, ...shared }: IModelsViewProps): VNode | null {
  const { trans } = shared;
  if (models.length === 0 && error === null) {
    return null;
  }
  const groups = byName(models);
  return (
    <section class="lagom-Models" aria-label={trans.__('Models')}>
      <h3>
        {trans.__('Models')} <span>{groups.length}</span>
      </h3>
      {error === null ? null : (
        <p class="lagom-RunList-error" role="alert">
          {error.message}
        </p>
      )}
      {groups.map(([name, versions]) => (
        <Model key={name} name={name} versions={versions} {...shared} />
      ))}
    </section>
  );
}

function Model({ name, versions, ...shared }: Shared & { name: string; versions: IModelInfo[] }): VNode {
  const { trans } = shared;
  const [limit, setLimit] = useState(PAGE_SIZE);
  const n_more = Math.min(PAGE_SIZE, versions.length - limit);
  return (
    <details class="lagom-Models-model">
      <summary>
        <span class="lagom-RunList-name">{name}</span>
        <span class="lagom-Models-quiet">{trans._n('%1 version', '%1 versions', versions.length)}</span>
      </summary>
      <ul role="list">
        {versions.slice(0, limit).map(version => (
          <Version key={version.version} model={version} {...shared} />
        ))}
      </ul>
      {n_more > 0 ? (
        <button type="button" class="lagom-RunList-more" onClick={() => setLimit(limit + PAGE_SIZE)}>
          {trans._n('Show %1 more version', 'Show %1 more versions', n_more)}
        </button>
      ) : null}
    </details>
  );
}

function Version({ model, now, language, trans, onRun, onFile }: Shared & { model: IModelInfo }): VNode {
  const exported = new Date(model.created_at);
  const metrics = metricsText(model);
  return (
    <li class="lagom-Models-version" title={visible(metricsText(model, Infinity))}>
      <span class="lagom-RunList-line">
        <span>{trans.__('version %1', model.version)}</span>
        <time
          class="lagom-Models-quiet"
          dateTime={exported.toISOString()}
          title={exported.toLocaleString(language)}
        >
          {relativeTime(exported.getTime() / 1000, now, language)}
        </time>
      </span>
      {metrics === '' ? null : <span class="lagom-Models-fact">{visible(metrics)}</span>}
      {model.description === '' ? null : (
        <span class="lagom-Models-fact">{oneLine(model.description, 200)}</span>
      )}
      <Origin model={model} trans={trans} onRun={onRun} />
      {model.inputs.map(input => (
        <Input key={input.path} input={input} trans={trans} onFile={onFile} />
      ))}
      {model.n_inputs > model.inputs.length ? (
        <span class="lagom-Models-fact">
          {trans._n('and %1 more file', 'and %1 more files', model.n_inputs - model.inputs.length)}
        </span>
      ) : null}
    </li>
  );
}

/** The run and the trial that the model came from, or who exported it. */
function Origin({
  model,
  trans,
  onRun
}: Pick<Shared, 'trans' | 'onRun'> & { model: IModelInfo }): VNode | null {
  if (model.run_id === null) {
    return model.user === '' ? null : (
      <span class="lagom-Models-fact">{trans.__('by %1', oneLine(model.user, NAME_LIMIT))}</span>
    );
  }
  const text = exporterText(model, oneLine(model.run_id, NAME_LIMIT), trans);
  const { run_dir } = model;
  return run_dir === null ? (
    <span class="lagom-Models-fact">{text}</span>
  ) : (
    <button
      type="button"
      class="lagom-Models-link"
      title={trans.__('Open the run in a tab')}
      onClick={() => onRun(run_dir)}
    >
      {text}
    </button>
  );
}

/** The run with its trial, and with the attempt of that unless it was the first. */
function exporterText({ trial_id, attempt }: IModelInfo, run: string, trans: TranslationBundle): string {
  if (trial_id === null) {
    return run;
  }
  return attempt === null || attempt === 1
    ? trans.__('%1, trial %2', run, trial_id)
    : trans.__('%1, trial %2, attempt %3', run, trial_id, attempt);
}

/** A file that the trial had read; a button where the server can show it. */
function Input({ input, trans, onFile }: Pick<Shared, 'trans' | 'onFile'> & { input: IModelInput }): VNode {
  const name = oneLine(input.path.replace(/\/+$/, '').split('/').pop() ?? input.path, NAME_LIMIT);
  const { shown } = input;
  return shown === null ? (
    <span class="lagom-Models-fact" title={visible(input.path)}>
      {trans.__('read %1', name)}
    </span>
  ) : (
    <button type="button" class="lagom-Models-link" title={visible(input.path)} onClick={() => onFile(shown)}>
      {trans.__('read %1', name)}
    </button>
  );
}
