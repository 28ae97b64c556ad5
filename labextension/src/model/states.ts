/** The states that trials and runs are in; their order is the one in which they are counted. */

export const TRIAL_STATES = ['COMPLETE', 'PRUNED', 'FAILED', 'STOPPED', 'RUNNING', 'WAITING'] as const;
export type TrialState = (typeof TRIAL_STATES)[number];

export const RUN_STATES = ['STARTING', 'RUNNING', 'COMPLETE', 'STOPPED', 'FAILED'] as const;
export type RunState = (typeof RUN_STATES)[number];
