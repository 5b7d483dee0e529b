// `vmrm ps`: runs and their VMs, as the controller's ledger has them.
import type { ReplyOf } from '../protocol/messages.ts'
import { type Command, readOptions, withController } from './command.ts'
import { renderTable } from './table.ts'

const usage = 'vmrm ps [--all] [--json] [JOB …]'

export const ps: Command = {
  summary: 'your runs and their VMs (--all: ended ones too)',
  async run(args) {
    const { values, positionals } = readOptions(usage, args, { all: { type: 'boolean' }, json: { type: 'boolean' } })
    const { runs } = await withController((controller) => controller.call('list-runs', { all: values.all === true }))
    const wanted = positionals.length === 0 ? runs : runs.filter((run) => positionals.includes(String(run.job)))
    process.stdout.write(values.json === true ? `${JSON.stringify(wanted, null, 2)}\n` : render(wanted))
    return 0
  },
}

function render(runs: ReplyOf<'list-runs'>['runs']): string {
  const rows = runs.flatMap((run) => {
    const common = [String(run.job), String(run.restart), run.user, run.image, run.state]
    const vms = run.vms.map((vm) => [...common, vm.node, vm.name, vm.hostname, vm.address ?? '', vm.state])
    const lines = vms.length > 0 ? vms : [[...common, '', '', '', '', '']]
    return run.reason === undefined ? lines : [...lines, ['', '', '', '', `${run.reason.split('\n')[0]}`]]
  })
  return renderTable(['JOB', 'RUN', 'USER', 'IMAGE', 'STATE', 'NODE', 'VM', 'HOSTNAME', 'ADDRESS', 'VM-STATE'], rows)
}
