// What ssh needs of a VM: the job's key and what proves the VM's own, read in the VM itself by a step. It must never write them anywhere.
import { once } from 'node:events'
import { VmrmError } from '../../errors/vmrm-error.ts'
import type { FoundVm } from '../find-vm.ts'
import { startStep } from '../start-step.ts'

export interface JobKeys {
  /** A private key in OpenSSH's format. */
  readonly key: string
  /** Lines of a known_hosts file. */
  readonly known: string
}

/** Becomes a connection to a port of the VM's loopback; the agent has put it there. */
export const connectPath = '/run/vmrm/vmrm-connect'

const maxAnswerBytes = 65_536
const keyBegins = '-----BEGIN OPENSSH PRIVATE KEY-----'

/** First what is missing, or `keys`. */
const script = `
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
[ -x ${connectPath} ] || { echo agent; exit 0; }
command -v sshd >/dev/null || { echo sshd; exit 0; }
cd /run/vmrm/ssh && [ -r id_ed25519 ] || { echo files; exit 0; }
echo keys; exec cat known_hosts id_ed25519`

const lacks: ReadonlyMap<string, string> = new Map([
  ['agent', 'the agent in its image is of an earlier vmrm, without ssh'],
  ['sshd', 'its image has no ssh server (sshd); `vmrm exec` needs none'],
  ['files', 'it has no key for you'],
])

/** Throws a sentence for each reason why ssh cannot work in this VM. */
export async function readJobKeys(vm: FoundVm): Promise<JobKeys> {
  const step = await startStep(vm, ['/bin/sh', '-c', script])
  step.stdin.end()
  let answer = ''
  step.stdout.on('data', (part) => {
    if (answer.length <= maxAnswerBytes) answer += String(part)
  })
  await once(step.stdout, 'close')
  if ((await step.ended) !== 0) throw new VmrmError('command-failed', `the keys of VM ${vm.hostname} cannot be read`)
  return parseJobKeys(vm.hostname, answer)
}

export function parseJobKeys(hostname: string, answer: string): JobKeys {
  const [first = ''] = answer.split('\n', 1)
  const why = lacks.get(first)
  if (why !== undefined) throw new VmrmError('request-invalid', `no ssh into VM ${hostname}: ${why}`)
  const at = answer.indexOf(keyBegins)
  if (first !== 'keys' || at < 0 || answer.length > maxAnswerBytes)
    throw new VmrmError('command-failed', `VM ${hostname} gave no key`)
  return { known: answer.slice(first.length + 1, at), key: answer.slice(at) }
}
