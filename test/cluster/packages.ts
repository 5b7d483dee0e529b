// Debian packages the cluster needs. Missing ones are installed without letting a service start.
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { attempt, command } from './exec.ts'

const needed: readonly string[] = [
  'iproute2',
  'libvirt-clients',
  'libvirt-daemon',
  'libvirt-daemon-driver-qemu',
  'libvirt-daemon-system',
  'munge',
  'nfs-ganesha',
  'nfs-ganesha-vfs',
  'nftables',
  'qemu-system-x86',
  'qemu-utils',
  'slurm-client',
  'slurm-wlm-basic-plugins',
  'slurmctld',
  'slurmd',
  'tini',
  'util-linux',
]

async function missingPackages(): Promise<string[]> {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders
  const format = '${binary:Package} ${db:Status-Status}\n'
  const { stdout } = await attempt(['/usr/bin/dpkg-query', '-W', '-f', format, ...needed])
  const installed = stdout.split('\n').filter((line) => line.endsWith(' installed'))
  const names = new Set(installed.map((line) => line.split(/[ :]/)[0]))
  return needed.filter((name) => !names.has(name))
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

/** Installs what is missing and says which; bounded to 10 minutes. */
export async function installPackages(say: (line: string) => void): Promise<void> {
  const missing = await missingPackages()
  if (missing.length === 0) return
  say(`installing Debian packages: ${missing.join(' ')}`)
  const quiet = ['/usr/bin/env', 'DEBIAN_FRONTEND=noninteractive', '/usr/bin/apt-get', '-q', '-y']
  await withoutServices(async () => {
    await command([...quiet, 'update'], { timeoutMs: 180_000 })
    await command([...quiet, 'install', '--no-install-recommends', ...missing], { timeoutMs: 600_000 })
  })
}
