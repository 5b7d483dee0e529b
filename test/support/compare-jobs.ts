// What of a job's transcript may differ between two jobs that behave the same. Pure.

/**
 * Replaces ids, times and node names by words and drops what is chance: bash's remarks about killed children, srun's wait for the step before.
 * Where Slurm is built for several slurmd on a host, slurmstepd's lines have the node's name and vmrm-run's have not.
 */
export function withoutChance(text: string, id: number): string {
  return text
    .replaceAll(/job0*\d+\/slurm_script/g, 'jobID/slurm_script')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/g, 'TIME')
    .replaceAll(new RegExp(`\\b(JOB |STEP |StepId=|[Jj]ob )${id}\\b`, 'g'), '$1ID')
    .replaceAll(/\bn[12]\b/g, 'NODE')
    .replaceAll('slurmstepd-NODE: ', 'slurmstepd: ')
    .split('\n')
    .filter(
      (line) =>
        !/line \d+: +\d+ |^(Hangup|Terminated|User defined signal \d)$|^srun: (Job ID )?[Ss]tep creat/.test(line),
    )
    .join('\n')
}
