// What of the kernel a node needs: cgroups, tap and VXLAN devices, nftables, and the tools for them.
import { constants } from 'node:fs'
import { access, readFile } from 'node:fs/promises'
import { release as kernelRelease } from 'node:os'
import { type CgroupHierarchies, findCgroups } from '../../vm/cgroup-hierarchies.ts'
import { type Check, type Finding, fail, ok, problemsOr, warn } from './check.ts'
import { complaint, runTool } from './run-tool.ts'

const neededControllers = ['memory', 'pids'] as const

async function may(path: string, mode: number): Promise<boolean> {
  return access(path, mode).then(
    () => true,
    () => false,
  )
}

async function controllerProblem(
  hierarchies: CgroupHierarchies,
  controller: (typeof neededControllers)[number],
): Promise<Finding | undefined> {
  const folder = hierarchies.folders.get(controller)
  const meaning = 'The VMs of a job could use more than Slurm gave it, at the cost of other jobs.'
  if (folder === undefined) {
    const mend = 'Boot with cgroup_enable=memory, or mount the hierarchy; or hypervisor/@cgroups="libvirt".'
    return fail(`no cgroup hierarchy with the ${controller} controller is mounted`, meaning, mend)
  }
  if (process.getuid?.() !== 0 || (await may(folder, constants.W_OK))) return undefined
  return fail(`${folder} cannot be written`, meaning, `mount -o remount,rw ${folder}`)
}

const cgroups: Check = {
  name: 'cgroups',
  roles: ['node'],
  async run({ config }) {
    if (config.hypervisor.cgroups === 'libvirt') return [ok('libvirt makes the groups of runs')]
    const hierarchies = await findCgroups()
    const problems: Finding[] = []
    for (const controller of neededControllers) {
      const problem = await controllerProblem(hierarchies, controller)
      if (problem !== undefined) problems.push(problem)
    }
    return problemsOr(`cgroup version ${hierarchies.version}: ${[...hierarchies.folders.keys()].join(', ')}`, problems)
  },
}

const tools = {
  '/usr/sbin/ip': 'iproute2',
  '/usr/sbin/bridge': 'iproute2',
  '/usr/sbin/nft': 'nftables',
  '/usr/sbin/sysctl': 'procps',
  '/usr/bin/nsenter': 'util-linux',
  '/usr/bin/getent': 'libc-bin',
  '/usr/bin/id': 'coreutils',
} as const

const networkTools: Check = {
  name: 'network-tools',
  roles: ['node'],
  async run() {
    const problems: Finding[] = []
    const meaning = 'Networks of jobs cannot be made, so no VM job can start here.'
    for (const [path, name] of Object.entries(tools)) {
      if (!(await may(path, constants.X_OK))) problems.push(fail(`${path} is missing`, meaning, `Install ${name}.`))
    }
    if (problems.length > 0 || process.getuid?.() !== 0) return problemsOr('all there', problems)
    const nft = await runTool('/usr/sbin/nft', ['list', 'tables'])
    if (nft.exitCode !== 0)
      problems.push(
        fail(`nft list tables: ${complaint(nft)}`, meaning, 'Use a kernel with nf_tables: modprobe nf_tables.'),
      )
    return problemsOr('ip, bridge, nft and the others are there, and nft works', problems)
  },
}

/** Loaded, built in, or to be loaded when it is needed. */
async function moduleState(name: string): Promise<'there' | 'unknown' | 'missing'> {
  if (await may(`/sys/module/${name}`, constants.F_OK)) return 'there'
  const folder = `/lib/modules/${kernelRelease()}`
  const lists = await Promise.all(
    ['modules.builtin', 'modules.dep'].map((file) => readFile(`${folder}/${file}`, 'utf8').catch(() => undefined)),
  )
  if (lists.every((list) => list === undefined)) return 'unknown'
  return lists.some((list) => list?.includes(`/${name}.ko`)) ? 'there' : 'missing'
}

const devices: Check = {
  name: 'network-devices',
  roles: ['node'],
  async run() {
    const problems: Finding[] = []
    if (!(await may('/dev/net/tun', constants.F_OK)))
      problems.push(fail('/dev/net/tun is missing', 'VMs get no network device.', 'modprobe tun'))
    const vxlan = await moduleState('vxlan')
    const meaning = 'VMs of jobs over several nodes cannot reach each other.'
    if (vxlan === 'missing')
      problems.push(
        fail('the kernel has no vxlan', meaning, 'Install the rest of the kernel package (linux-modules-extra).'),
      )
    if (vxlan === 'unknown')
      problems.push(warn('it is not known whether the kernel has vxlan', `Without it: ${meaning}`, 'modprobe vxlan'))
    return problemsOr('tap and vxlan are there', problems)
  },
}

export const kernelChecks: readonly Check[] = [cgroups, networkTools, devices]
