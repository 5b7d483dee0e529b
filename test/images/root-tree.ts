// Lays out the root folder of the tiny image from unpacked packages. It owns what is in the image; it never runs a
// program of the image but its dynamic linker and busybox's list of applets.
import { chmod, copyFile, cp, lstat, mkdir, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { earlyModules, lateModules, ModuleIndex, onDemandModules } from './modules.ts'
import { requiredPrograms, rootFiles, rootFolders, unwantedPaths } from './root-files.ts'
import { runTool, runToolAsOwner } from './tools.ts'

const programFolders = ['usr/bin', 'usr/sbin']
const libraryFolder = 'usr/lib/x86_64-linux-gnu'
const guestFiles = join(import.meta.dirname, 'guest')

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  )
}

async function linkAnew(target: string, path: string): Promise<void> {
  await rm(path, { force: true })
  await symlink(target, path)
}

/** Unpacks packages into a root whose /bin, /sbin and /lib are links into /usr, as on any Debian of today. */
export async function unpack(packages: readonly string[], root: string, signal: AbortSignal): Promise<void> {
  for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
    await mkdir(join(root, 'usr', name), { recursive: true })
    await symlink(`usr/${name}`, join(root, name))
  }
  const archive = join(root, 'package.tar')
  for (const file of packages) {
    // `dpkg-deb --extract` would put folders in the place of the links.
    const output = await open(archive, 'w')
    try {
      await runTool('dpkg-deb', ['--fsys-tarfile', file], { outputFd: output.fd, signal })
    } finally {
      await output.close()
    }
    await runTool('tar', ['-x', '-f', archive, '-C', root, '--keep-directory-symlink', '--same-permissions'], {
      signal,
    })
  }
  await rm(archive)
}

/** The image's own depmod, through the image's own dynamic linker: the build machine may have neither kmod nor its libraries. */
async function runDepmod(root: string, tree: string, release: string): Promise<void> {
  const libraries = join(root, libraryFolder)
  const args = ['--inhibit-cache', '--library-path', libraries, '--argv0', 'depmod', join(root, 'usr/bin/kmod')]
  await execa(join(libraries, 'ld-linux-x86-64.so.2'), [...args, '-b', tree, release], {
    ...{ env: { PATH: '/usr/bin:/bin' }, extendEnv: false, timeout: 120_000 },
  })
}

/** Takes the modules of the image out of the kernel package's tree, and indexes them. */
export async function installModules(kernelTree: string, root: string, release: string): Promise<void> {
  const from = join(kernelTree, 'lib/modules', release)
  const to = join(root, 'usr/lib/modules', release)
  await runDepmod(root, kernelTree, release)
  const index = new ModuleIndex(
    await readFile(join(from, 'modules.dep'), 'utf8'),
    await readFile(join(from, 'modules.builtin'), 'utf8'),
  )
  const paths = index.closure([...earlyModules, ...lateModules, ...onDemandModules])
  for (const path of [...paths, 'modules.order', 'modules.builtin', 'modules.builtin.modinfo']) {
    await mkdir(dirname(join(to, path)), { recursive: true })
    await copyFile(join(from, path), join(to, path))
  }
  await runDepmod(root, root, release)
}

/** Busybox stands in for every program that no package brought. */
async function linkApplets(root: string): Promise<void> {
  const { stdout } = await execa(join(root, 'usr/bin/busybox'), ['--list-full'], { env: {}, extendEnv: false })
  const left = new Set(['dpkg', 'dpkg-deb', 'rpm', 'rpm2cpio', 'linuxrc', 'su', 'login', 'passwd', 'sulogin'])
  for (const applet of stdout.split('\n')) {
    const name = applet.split('/').at(-1) ?? applet
    const present = await Promise.all(programFolders.map((folder) => exists(join(root, folder, name))))
    if (present.includes(true) || left.has(name) || name === 'busybox') continue
    const folder = applet.includes('sbin/') ? 'usr/sbin' : 'usr/bin'
    await symlink('/usr/bin/busybox', join(root, folder, name))
  }
  await linkAnew('/usr/bin/busybox', join(root, 'usr/sbin/init'))
  // Debian has `ip` where users' PATH finds it too.
  await linkAnew('/usr/bin/busybox', join(root, 'usr/bin/ip'))
  await linkAnew('dash', join(root, 'usr/bin/sh'))
  await linkAnew('mawk', join(root, 'usr/bin/awk'))
}

/** Whether a file is a program that the dynamic linker must complete. */
async function isDynamic(path: string): Promise<boolean> {
  if (!(await lstat(path)).isFile()) return false
  const bytes = await readFile(path)
  return bytes.subarray(0, 4).toString('latin1') === '\x7fELF' && bytes.includes('/lib64/ld-linux-x86-64.so.2\0')
}

/** Leaves out programs whose libraries the image has not; the answer is their names. Throws for a required one. */
async function dropUnlinkable(root: string): Promise<string[]> {
  const linker = join(root, libraryFolder, 'ld-linux-x86-64.so.2')
  const dropped: string[] = []
  for (const folder of programFolders) {
    for (const name of await readdir(join(root, folder))) {
      const path = join(root, folder, name)
      if (!(await isDynamic(path))) continue
      const args = ['--inhibit-cache', '--library-path', join(root, libraryFolder), '--list', path]
      const { all, exitCode } = await execa(linker, args, { env: {}, extendEnv: false, all: true, reject: false })
      // The linker falls back to the build machine's own folders: a library from there counts as missing.
      const foreign = all.split('\n').filter((line) => /=> \//.test(line) && !line.includes(`=> ${root}`))
      if (exitCode === 0 && !all.includes('not found') && foreign.length === 0) continue
      if (requiredPrograms.includes(name)) {
        throw new VmrmError('command-failed', `building an image: ${name} lacks a library`, { quoted: all })
      }
      await rm(path)
      dropped.push(name)
    }
  }
  return dropped
}

async function writeOwnFiles(root: string, agent: string): Promise<void> {
  for (const [path, mode] of rootFolders) {
    await mkdir(join(root, path), { recursive: true })
    await chmod(join(root, path), mode)
  }
  for (const { path, content, mode } of rootFiles) {
    await rm(join(root, path), { force: true })
    await writeFile(join(root, path), content, { mode: mode ?? 0o644 })
  }
  await copyFile(join(guestFiles, 'inittab'), join(root, 'etc/inittab'))
  for (const name of ['late', 'sshd']) await cp(join(guestFiles, name), join(root, 'etc/vmrm', name))
  for (const name of ['late', 'sshd']) await chmod(join(root, 'etc/vmrm', name), 0o755)
  await writeFile(join(root, 'etc/vmrm/late-modules'), `${lateModules.join(' ')}\n`)
  await copyFile(agent, join(root, 'usr/sbin/vmrm-agent'))
  await chmod(join(root, 'usr/sbin/vmrm-agent'), 0o755)
}

/** Turns unpacked packages into the image's root. The answer names the programs that were left out. */
export async function finishRoot(root: string, agent: string): Promise<string[]> {
  for (const path of unwantedPaths) await rm(join(root, path), { recursive: true, force: true })
  const dropped = await dropUnlinkable(root)
  await linkApplets(root)
  await writeOwnFiles(root, agent)
  for (const name of requiredPrograms) {
    const present = await Promise.all(programFolders.map((folder) => exists(join(root, folder, name))))
    if (!present.includes(true)) throw new VmrmError('command-failed', `building an image: it would lack ${name}`)
  }
  await runToolAsOwner('ldconfig', ['-r', root])
  return dropped
}
