// Debian's sshd out of its package, without installing it: a machine that runs tests shall not get a network service.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import type { Test } from 'tap'
import { fetchPackages, resolvePackages } from '../images/packages.ts'

/** argv that runs sshd; its files are gone with the test. */
export async function unpackSshd(t: Test): Promise<readonly string[]> {
  const signal = AbortSignal.timeout(120_000)
  const packages = await resolvePackages(async () => ['openssh-server', 'libwrap0', 'libnsl2'], signal)
  const { files } = await fetchPackages(packages, '/var/tmp/vmrm-packages', signal)
  const folder = mkdtempSync(join(tmpdir(), 'vmrm-sshd-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  mkdirSync(join(folder, 'root'))
  for (const { path } of files) await execa('/usr/bin/dpkg-deb', ['-x', path, join(folder, 'root')])
  const libraries = join(folder, 'root/usr/lib/x86_64-linux-gnu')
  return ['/usr/bin/env', `LD_LIBRARY_PATH=${libraries}`, join(folder, 'root/usr/sbin/sshd')]
}
