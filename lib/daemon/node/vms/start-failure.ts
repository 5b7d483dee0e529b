// How a user reads that a VM did not come up. It only words what has happened.
import { VmrmError } from '../../../errors/vmrm-error.ts'

const withConsoleCodes: readonly string[] = ['vm-boot-timeout', 'vm-start-failed', 'identity-failed', 'vm-lost']

/** Says of which VM and node it tells where the message does not, with the console's last lines where they help. */
export async function explainFailure(
  error: unknown,
  options: { vm: string; place: string; tail: () => Promise<string> },
): Promise<unknown> {
  if (!(error instanceof VmrmError) || error.code === 'run-ended') return error
  const { vm, place, tail } = options
  const { code, hint, message } = error
  const console = withConsoleCodes.includes(code) ? await tail() : ''
  const lines = [error.quoted, console].filter((text) => text !== undefined && text !== '')
  const rest = message.startsWith(`${vm} `) ? message.slice(vm.length) : `: ${message}`
  return new VmrmError(code, message.startsWith(place) ? message : `${place}${rest}`, {
    ...{ cause: error, hint },
    ...(lines.length === 0 ? {} : { quoted: lines.join('\n') }),
  })
}
