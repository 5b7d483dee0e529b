// The serial console of a VM on this node, both ways, until Ctrl-] or the VM's end. It must never leave the terminal raw.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { vmFiles } from '../daemon/node/domain-of.ts'
import { VmrmError } from '../errors/vmrm-error.ts'
import { runId } from '../job/run.ts'
import { type FoundVm, requireHere } from './find-vm.ts'

const detachByte = 0x1d // Ctrl-]
const signals = ['SIGHUP', 'SIGINT', 'SIGTERM'] as const

export async function attachConsole(vm: FoundVm): Promise<number> {
  const { config, job, restart, index, name } = vm
  requireHere(vm, { what: 'its console', command: `vmrm console --attach ${job.name} --vm ${index}` })
  const path = vmFiles(join(config.paths.runs, runId({ job: job.id, restart })), index).consoleSocket
  const lock = join(config.paths.runtime, `console-${name}.pid`)
  takeLock(lock, name)
  try {
    const socket = await connected(path, name)
    process.stderr.write(`vmrm: the console of VM ${name} (${vm.hostname}); Ctrl-] detaches\n`)
    const end = await exchange(socket)
    process.stderr.write(end === 'detached' ? '\nvmrm: detached\n' : `\nvmrm: the console of VM ${name} has ended\n`)
    return 0
  } finally {
    rmSync(lock, { force: true })
  }
}

/** QEMU serves one at a time; a second one would wait without a word. */
function takeLock(path: string, name: string): void {
  try {
    writeFileSync(path, String(process.pid), { flag: 'wx' })
    return
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  const holder = Number(readFileSync(path, 'utf8'))
  if (isAlive(holder))
    throw new VmrmError('request-invalid', `process ${holder} is attached to the console of VM ${name}`)
  writeFileSync(path, String(process.pid))
}

function isAlive(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch {
    return false
  }
}

function connected(path: string, name: string): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const socket = connect(path)
  socket.once('connect', () => resolve(socket))
  socket.once('error', (cause) =>
    reject(
      new VmrmError('job-without-vms', `the console of VM ${name} cannot be reached: ${cause.message}`, { cause }),
    ),
  )
  return promise
}

async function exchange(socket: Socket): Promise<'detached' | 'ended'> {
  const { promise, resolve } = Promise.withResolvers<'detached' | 'ended'>()
  const { stdin, stdout } = process
  const detach = () => resolve('detached')
  for (const signal of signals) process.once(signal, detach)
  socket.on('data', (data) => void stdout.write(data))
  socket.once('error', () => resolve('ended'))
  socket.once('close', () => resolve('ended'))
  stdin.on('data', (data: Buffer) => {
    const at = data.indexOf(detachByte)
    socket.write(at < 0 ? data : data.subarray(0, at))
    if (at >= 0) detach()
  })
  stdin.once('end', detach)
  if (stdin.isTTY) stdin.setRawMode(true)
  try {
    return await promise
  } finally {
    if (stdin.isTTY) stdin.setRawMode(false)
    stdin.pause()
    stdin.removeAllListeners('data')
    for (const signal of signals) process.removeListener(signal, detach)
    socket.destroy()
  }
}
