// `vmrm check-request`: what the plug-in asks at submit. Exit 0: allowed; 65: refused, with the sentence on stderr. Every
// other exit code means "not known": the plug-in warns and goes on, so nothing but a refusal may end with 65.
import { type ErrorCode, exitCodeOfFamily } from '../errors/catalogue.ts'
import { renderForUser, toVmrmError } from '../errors/vmrm-error.ts'
import { parseVmRequest } from '../slurm/hook-environment.ts'
import { type Command, readOptions, UsageError } from './command.ts'
import { withController } from './controller.ts'

const usage =
  'vmrm check-request --image=NAME[@REV] [--per-node=K] [--script=guest|host] [--strategy=all-or-nothing|best-effort]'
/** Below the plug-in's own bound of 5 s. */
const answerMs = 4000

const refusals: ReadonlySet<ErrorCode> = new Set([
  'image-unknown',
  'image-not-allowed',
  'request-invalid',
  'size-too-small',
  'size-over-limit',
])

export const checkRequest: Command = {
  summary: 'whether you may have these VMs (asked by sbatch)',
  usage,
  help: `Asks the controller whether you may have VMs of this image, as sbatch, salloc and srun do before there is a job.
Exit code 0: yes. 65: no, with the reason. Any other: it could not be found out.`,
  async run(args) {
    const { values, positionals } = readOptions(usage, args, {
      image: { type: 'string' },
      'per-node': { type: 'string' },
      script: { type: 'string' },
      strategy: { type: 'string' },
    })
    if (values.image === undefined || positionals.length > 0) throw new UsageError('one --image is needed', usage)
    try {
      const request = parseVmRequest({
        SPANK_VMRM_IMAGE: values.image,
        SPANK_VMRM_PER_NODE: values['per-node'],
        SPANK_VMRM_SCRIPT: values.script,
        SPANK_VMRM_STRATEGY: values.strategy,
      })
      await withController((controller) => controller.call('check-request', { request }, { timeoutMs: answerMs }))
      return 0
    } catch (thrown) {
      const error = toVmrmError(thrown)
      process.stderr.write(renderForUser(error))
      if (refusals.has(error.code)) return exitCodeOfFamily.user
      return error.family === 'user' ? exitCodeOfFamily.peer : exitCodeOfFamily[error.family]
    }
  },
}
