import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { readImageSize } from '../../lib/image/master.ts'
import { createOverlay } from '../../lib/image/overlay.ts'

const folder = mkdtempSync(join(tmpdir(), 'vmrm-overlay-'))
t.teardown(() => rmSync(folder, { recursive: true }))
const qemu = (tool: string, ...args: string[]) =>
  execFileSync(`/usr/bin/${tool}`, args, { encoding: 'utf8', timeout: 30_000 })
const checksum = (path: string) => createHash('sha256').update(readFileSync(path)).digest('hex')
const mib = 1 << 20

function makeMaster(name: string, format: 'qcow2' | 'raw', sizeBytes = 8 * mib): string {
  const path = join(folder, name)
  qemu('qemu-img', 'create', '-q', '-f', format, path, String(sizeBytes))
  qemu('qemu-io', '-f', format, '-c', 'write -P 0x5a 1M 1M', path)
  return path
}

for (const format of ['qcow2', 'raw'] as const) {
  for (const grownBytes of [0, 3 * 1024 * mib]) {
    t.test(
      `An overlay of a ${format} master, ${grownBytes} bytes larger, is clean, reads the same and leaves it alone`,
      async (t) => {
        const master = makeMaster(`m-${format}-${grownBytes}:with colon`, format)
        const before = checksum(master)
        const overlay = join(folder, `o-${format}-${grownBytes}`)
        const size = (await readImageSize(master, format)) + grownBytes
        await createOverlay({ path: overlay, backingPath: master, backingFormat: format, virtualSizeBytes: size })
        qemu('qemu-img', 'check', '-q', '-f', 'qcow2', overlay)
        qemu('qemu-img', 'compare', '-q', '-f', 'qcow2', '-F', format, overlay, master)
        const info = JSON.parse(qemu('qemu-img', 'info', '--output=json', '-f', 'qcow2', overlay))
        t.equal(info['virtual-size'], size)
        t.equal(info['backing-filename'], master)
        t.equal(info['backing-filename-format'], format)
        qemu('qemu-io', '-f', 'qcow2', '-c', `write -P 0x77 ${size - mib} 1M`, '-c', 'write -P 1 0 64k', overlay)
        qemu('qemu-io', '-f', 'qcow2', '-c', 'read -P 0x5a 1M 1M', '-c', `read -P 0x77 ${size - mib} 1M`, overlay)
        qemu('qemu-img', 'check', '-q', '-f', 'qcow2', overlay)
        t.equal(checksum(master), before)
      },
    )
  }
}

t.test('A disk of 40 TiB gets an L1 table that fits', async (t) => {
  const master = makeMaster('m-large', 'raw')
  const overlay = join(folder, 'o-large')
  await createOverlay({
    path: overlay,
    backingPath: master,
    backingFormat: 'raw',
    virtualSizeBytes: 40 * 1024 * 1024 * mib,
  })
  qemu('qemu-io', '-f', 'qcow2', '-c', 'write -P 9 39T 64k', overlay)
  qemu('qemu-img', 'check', '-q', '-f', 'qcow2', overlay)
  t.ok(statSync(overlay).blocks * 512 < 4 * mib)
})

t.test('An overlay belongs to the uid and gid that are given and to nobody else', async (t) => {
  const master = makeMaster('m-owner', 'raw')
  const overlay = join(folder, 'o-owner')
  const owner = { uid: 61_234, gid: 61_235 }
  await createOverlay({ path: overlay, backingPath: master, backingFormat: 'raw', virtualSizeBytes: 8 * mib, owner })
  const status = statSync(overlay)
  t.match({ uid: status.uid, gid: status.gid, mode: status.mode & 0o777 }, { ...owner, mode: 0o600 })
})

t.test('An existing file is never overwritten', async (t) => {
  const path = join(folder, 'o-existing')
  writeFileSync(path, 'precious')
  await t.rejects(createOverlay({ path, backingPath: '/m', backingFormat: 'raw', virtualSizeBytes: mib }), {
    code: 'node-fault',
    message: /o-existing/,
  })
  t.equal(readFileSync(path, 'utf8'), 'precious')
})

t.test('A full disk is told as such, and nothing is left on it', async (t) => {
  const mount = join(folder, 'full')
  mkdirSync(mount)
  execFileSync('/usr/bin/mount', ['-t', 'tmpfs', '-o', 'size=8k', 'tmpfs', mount], { timeout: 10_000 })
  try {
    writeFileSync(join(mount, 'filler'), Buffer.alloc(8192))
    await t.rejects(
      createOverlay({ path: join(mount, 'o'), backingPath: '/m', backingFormat: 'raw', virtualSizeBytes: mib }),
      { code: 'node-disk-full', family: 'capacity' },
    )
    t.throws(() => statSync(join(mount, 'o')), { code: 'ENOENT' })
  } finally {
    execFileSync('/usr/bin/umount', [mount], { timeout: 10_000 })
  }
})

const refusals: { name: string; why: RegExp; make: (path: string) => void }[] = [
  {
    name: 'has a backing file',
    why: /backing file/,
    make: (path) => {
      const base = makeMaster('base', 'qcow2')
      qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-b', base, '-F', 'qcow2', path)
    },
  },
  {
    name: 'has an external data file',
    why: /external data file/,
    make: (path) => {
      qemu('qemu-img', 'create', '-q', '-f', 'qcow2', '-o', `data_file=${path}.data`, path, '8M')
    },
  },
  {
    name: 'is encrypted',
    why: /encrypted/,
    make: (path) => {
      const master = readFileSync(makeMaster('plain', 'qcow2'))
      master.writeUInt32BE(2, 32) // crypt_method LUKS: QEMU itself cannot make one quickly on a busy machine
      writeFileSync(path, master)
    },
  },
  { name: 'is raw', why: /not a qcow2 file/, make: (path) => writeFileSync(path, Buffer.alloc(4096)) },
  { name: 'is shorter than a header', why: /not a qcow2 file/, make: (path) => writeFileSync(path, 'QFI') },
  { name: 'is a folder', why: /not a regular file/, make: (path) => mkdirSync(path) },
  { name: 'does not exist', why: /ENOENT/, make: () => {} },
]
for (const [index, { name, why, make }] of refusals.entries()) {
  t.test(`A qcow2 master that ${name} is refused`, async (t) => {
    const path = join(folder, `refused-${index}`)
    make(path)
    await t.rejects(readImageSize(path, 'qcow2'), { code: 'config-invalid', message: why })
  })
}

t.test('A raw master is as large as its file, rounded up to a sector, and its content is not looked at', async (t) => {
  const path = join(folder, 'raw-odd')
  writeFileSync(path, Buffer.concat([Buffer.from('QFI\xfb', 'latin1'), Buffer.alloc(1000)]))
  t.equal(await readImageSize(path, 'raw'), 1024)
})
