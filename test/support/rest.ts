// A job submitted through a real slurmrestd, which reads one request from a pipe of its user's (rest_auth/local).
import type { Cluster } from './cluster.ts'

export interface RestAnswer {
  /** Undefined where the job was refused. */
  readonly jobId: number | undefined
  /** What slurmrestd itself logs: Slurm's words on a refusal stand only there (22.05). */
  readonly log: string
}

const command = 'cat | /usr/sbin/slurmrestd -s openapi/v0.0.38 -a rest_auth/local'

/** `job` has the fields of Slurm's OpenAPI v0.0.38. */
export async function submitByRest(cluster: Cluster, script: string, job: object, user = 'alice'): Promise<RestAnswer> {
  const body = JSON.stringify({ job, script: `#!/bin/sh\n${script}\n` })
  const head = [
    'POST /slurm/v0.0.38/job/submit HTTP/1.1',
    'Host: ctl',
    'Content-Type: application/json',
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ]
  const input = `${head.join('\r\n')}\r\n\r\n${body}`
  const { stdout, stderr } = await cluster.run(['/bin/sh', '-c', command], { user, input })
  const [, id] = /"job_id": (\d+)/.exec(stdout) ?? []
  if (id === undefined && !stdout.includes('"errors"')) throw new Error(`slurmrestd: ${stderr}${stdout}`)
  return { jobId: id === undefined ? undefined : Number(id), log: stderr }
}
