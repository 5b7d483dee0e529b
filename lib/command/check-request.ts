// `vmrm check-request`: what the plug-in asks at submit. Exit 0: allowed; 65: refused, with the sentence on stderr.
import { parseVmRequest } from '../slurm/hook-environment.ts'
import { type Command, readOptions, withController } from './command.ts'

const usage = 'vmrm check-request --image=NAME[@REV] [--per-node=K] [--script=guest|host]'
const answerMs = 4000

export const checkRequest: Command = {
  summary: 'whether you may have these VMs (asked by sbatch)',
  async run(args) {
    const { values } = readOptions(usage, args, {
      image: { type: 'string' },
      'per-node': { type: 'string' },
      script: { type: 'string' },
    })
    const request = parseVmRequest({
      SPANK_VMRM_IMAGE: values.image ?? '',
      SPANK_VMRM_PER_NODE: values['per-node'],
      SPANK_VMRM_SCRIPT: values.script,
    })
    await withController((controller) => controller.call('check-request', { request }, { timeoutMs: answerMs }))
    return 0
  },
}
