// `vmrm console --attach`: the serial console of a VM on this node, both ways, until Ctrl-] or the VM's end, for one process at a time.
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { vmFiles } from '../daemon/node/vms/domain-of.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import { runId } from '../job/run.ts'
import { exchange } from './console/exchange.ts'
import { lockConsole } from './console/lock.ts'
import { type FoundVm, requireHere } from './find-vm.ts'

export async function attachConsole(vm: FoundVm): Promise<number> {
  const { config, job, restart, index, name } = vm
  requireHere(vm, { what: 'its console', command: `vmrm console --attach ${job.name} --vm ${index}` })
  const files = vmFiles(join(config.paths.runs, runId({ job: job.id, restart })), index)
  const lock = await lockConsole(files.folder, name)
  try {
    const socket = await connected(files.consoleSocket, name)
    process.stderr.write(`vmrm: the console of VM ${name} (${vm.hostname}); Ctrl-] detaches\n`)
    const end = await exchange(socket, name)
    process.stderr.write(end === 'detached' ? '\nvmrm: detached\n' : `\nvmrm: the console of VM ${name} has ended\n`)
    return 0
  } finally {
    await lock.release()
  }
}

function connected(path: string, name: string): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const socket = connect(path)
  socket.once('connect', () => resolve(socket))
  socket.once('error', (cause) =>
    reject(new VmrmError('console-failed', `the console of VM ${name} cannot be reached: ${cause.message}`, { cause })),
  )
  return promise
}
