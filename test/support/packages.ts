// The Debian packages that the project's parts need on this machine, and their installer. What is missing is installed
// without letting a service start; nothing is ever upgraded or removed.
import { existsSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { attempt, command } from '../cluster/exec.ts'

/** Who needs what. Essential packages (coreutils, tar, dpkg and the like) are not named. */
const neededBy = {
  /** test/cluster: a Slurm cluster with a hypervisor and a file server on each node. */
  cluster: [
    ...['iproute2', 'libvirt-clients', 'libvirt-daemon', 'libvirt-daemon-driver-qemu', 'libvirt-daemon-system'],
    ...['munge', 'nfs-ganesha', 'nfs-ganesha-vfs', 'nftables', 'qemu-system-x86', 'qemu-utils'],
    ...['slurm-client', 'slurm-wlm-basic-plugins', 'slurmctld', 'slurmd', 'slurmrestd', 'tini', 'util-linux'],
    // Slurm's mpi/pmix opens libpmix.so by that name, which only the development package has.
    'libpmix-dev',
  ],
  /** test/cluster with `--accounting`. */
  accounting: ['mariadb-server-core', 'slurmdbd'],
  /** .ci/build and test/images: C, static C, Slurm's header, file systems in files. */
  build: ['gcc', 'make', 'libc6-dev', 'libslurm-dev', 'e2fsprogs', 'qemu-utils', 'xorriso'],
  /** Programs that only tests call. */
  test: [
    'busybox-static',
    'cpio',
    'libnss-extrausers',
    'libxml2-utils',
    'man-db',
    'openssh-client',
    'procps',
    'python3-minimal',
    'xauth',
  ],
} as const satisfies Record<string, readonly string[]>

export type Purpose = keyof typeof neededBy

/** One of several packages that bring the same program. */
const alternatives: Readonly<Record<string, readonly string[]>> = { 'busybox-static': ['busybox'] }

async function missingPackages(needed: readonly string[]): Promise<string[]> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const format = '${binary:Package} ${db:Status-Status}\n'
  const asked = needed.flatMap((name) => [name, ...(alternatives[name] ?? [])])
  const { stdout } = await attempt(['/usr/bin/dpkg-query', '-W', '-f', format, ...asked])
  const installed = stdout.split('\n').filter((line) => line.endsWith(' installed'))
  const names = new Set(installed.map((line) => line.split(/[ :]/)[0]))
  return needed.filter((name) => ![name, ...(alternatives[name] ?? [])].some((each) => names.has(each)))
}

const policyPath = '/usr/sbin/policy-rc.d'

/** Debian asks this file before a package starts its service; 101 means no. A policy that is there already is left alone. */
async function withoutServices<T>(work: () => Promise<T>): Promise<T> {
  if (existsSync(policyPath)) return work()
  writeFileSync(policyPath, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    return await work()
  } finally {
    rmSync(policyPath, { force: true })
  }
}

const quiet = ['/usr/bin/env', 'DEBIAN_FRONTEND=noninteractive', '/usr/bin/apt-get', '-q', '-y']

function hasPackageLists(): boolean {
  const folder = '/var/lib/apt/lists'
  return existsSync(folder) && readdirSync(folder).some((name) => /_Packages/.test(name))
}

/** Installs what is missing and says which; bounded to 15 minutes. Building an image needs apt's lists: they are fetched where there are none. */
export async function installPackages(purposes: readonly Purpose[], say: (line: string) => void): Promise<void> {
  const needed = [...new Set(purposes.flatMap((purpose): readonly string[] => neededBy[purpose]))]
  const missing = await missingPackages(needed)
  const needsLists = purposes.includes('build') && !hasPackageLists()
  if (missing.length === 0 && !needsLists) return
  say(missing.length === 0 ? "fetching apt's package lists" : `installing Debian packages: ${missing.join(' ')}`)
  await command([...quiet, 'update'], { timeoutMs: 180_000 })
  if (missing.length === 0) return
  await withoutServices(() =>
    command([...quiet, 'install', '--no-install-recommends', ...missing], { timeoutMs: 720_000 }),
  )
}

if (import.meta.main) {
  const say = (line: string): void => void process.stderr.write(`packages: ${line}\n`)
  try {
    const asked = process.argv.slice(2) as Purpose[]
    const unknown = asked.find((purpose) => !Object.keys(neededBy).includes(purpose))
    if (unknown !== undefined) throw new Error(`there is no purpose ${unknown}: ${Object.keys(neededBy).join(', ')}`)
    await installPackages(asked.length === 0 ? ['cluster', 'build', 'test'] : asked, say)
  } catch (error) {
    say((error as Error).message)
    process.exitCode = 1
  }
}
