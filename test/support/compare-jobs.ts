// What of a job's transcript may differ between two jobs that behave the same. Pure.

/**
 * Replaces ids, times and node names by words and drops what is chance: bash's remarks about killed children, srun's wait for the step before.
 * A job that has two of a node's GPUs has its first pair or its second: their numbers are counted from there. Where Slurm is built for several slurmd on a host, slurmstepd's lines have the node's name and vmrm-run's have not.
 */
export function withoutChance(text: string, id: number): string {
  return text
    .replaceAll(/job0*\d+\/slurm_script/g, 'jobID/slurm_script')
    .replaceAll(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/g, 'TIME')
    .replaceAll(new RegExp(`\\b(JOB |STEP |StepId=|[Jj]ob )${id}\\b`, 'g'), '$1ID')
    .replaceAll(/\b(n[12]|tiny-\d{4})\b/g, 'NODE')
    .replaceAll(/(?<=(?:\w+_VISIBLE_DEVICES|\w+_DEVICE_ORDINAL|ZE_AFFINITY_MASK|SLURM_\w+_GPUS)=)[\d,]+/g, (list) =>
      list.replaceAll(/\d+/g, (index) => String(Number(index) % 2)),
    )
    .replaceAll(/Job step aborted: Waiting .*/g, 'Job step aborted')
    .replaceAll('slurmstepd-NODE: ', 'slurmstepd: ')
    .split('\n')
    .filter(
      (line) =>
        !/line \d+: +\d+ |^(Hangup|Terminated|User defined signal \d)$|^srun: (Job ID )?[Ss]tep creat|^srun: error: IO: Hey, you told me node/.test(
          line,
        ),
    )
    .join('\n')
}
