// The seed as a VM's cloud-init finds it: what is on it, and that it depends on what it is made of alone. That it starts the
// agent is shown by test/images/debian.test.ts.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import t, { type Test } from 'tap'
import { checkSeed } from '../../lib/image/seed.ts'

const sources = join(import.meta.dirname, '../../lib/guest/seed')
const bound = { timeout: 60_000 }

function scratch(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'vmrm-seed-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** A seed with these bytes as the agent. */
async function makeSeed(t: Test, agent: Buffer): Promise<string> {
  const folder = scratch(t)
  writeFileSync(join(folder, 'agent'), agent)
  await execa(join(sources, 'make'), [join(folder, 'agent'), join(folder, 'seed.iso')], bound)
  return join(folder, 'seed.iso')
}

/** A folder with the image's files. */
async function unpack(t: Test, iso: string): Promise<string> {
  const folder = join(scratch(t), 'files')
  await execa('/usr/bin/xorriso', ['-osirrox', 'on', '-indev', iso, '-extract', '/', folder], bound)
  t.teardown(() => execa('/usr/bin/chmod', ['-R', 'u+w', folder], bound))
  return folder
}

const agent = Buffer.from(Array.from({ length: 300_001 }, (_, at) => (at * 7919) % 251))

t.test('it is a NoCloud image with the agent, byte by byte, and with what cloud-init is told', async (t) => {
  const iso = await makeSeed(t, agent)
  await checkSeed(iso)
  const files = await unpack(t, iso)
  t.ok(readFileSync(join(files, 'vmrm-agent')).equals(agent))
  for (const name of ['user-data', 'network-config', 'start'])
    t.equal(readFileSync(join(files, name), 'utf8'), readFileSync(join(sources, name), 'utf8'), name)
  t.match(readFileSync(join(files, 'user-data'), 'utf8'), /^#cloud-config\n/, 'what cloud-init knows it by')
  t.match(readFileSync(join(files, 'meta-data'), 'utf8'), /^instance-id: vmrm-[0-9a-f]{16}\ndsmode: local\n$/)
})

t.test('the same agent gives the same bytes, another one is another machine for cloud-init', async (t) => {
  const [first, second] = [await makeSeed(t, agent), await makeSeed(t, agent)]
  t.ok(readFileSync(first).equals(readFileSync(second)))
  const other = await makeSeed(t, Buffer.concat([agent, Buffer.from('x')]))
  const idOf = async (iso: string) => readFileSync(join(await unpack(t, iso), 'meta-data'), 'utf8')
  t.not(await idOf(other), await idOf(first))
})

t.test('what is no seed is refused, with its path', async (t) => {
  const folder = scratch(t)
  for (const [name, text] of Object.entries({ empty: '', text: 'x'.repeat(40_000) })) {
    const path = join(folder, name)
    writeFileSync(path, text)
    await t.rejects(checkSeed(path), {
      code: 'config-invalid',
      message: /^The seed .* cannot be used: it is no ISO 9660/,
    })
  }
  await t.rejects(checkSeed(join(folder, 'none')), { code: 'config-invalid', message: /ENOENT/ })
})
