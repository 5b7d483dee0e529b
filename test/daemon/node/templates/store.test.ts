import { existsSync, mkdirSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { TemplateStore } from '../../../../lib/daemon/node/templates/store.ts'
import { type TemplateParts, templateKey, templatePartNames } from '../../../../lib/image/template/key.ts'
import { silentLog } from '../../../../lib/log.ts'

const owner = { uid: 600_000, gid: 600_001 }
const partsOf = (image: string) =>
  Object.fromEntries(templatePartNames.map((name) => [name, name === 'image' ? image : name])) as TemplateParts
const keyOf = (image: string) => templateKey(partsOf(image))

function openStore(t: Test) {
  const folder = join(t.testdir(), 'templates')
  const clock = { nowMs: 1000 }
  const open = () => new TemplateStore({ folder, log: silentLog, now: () => clock.nowMs })
  return { folder, clock, open }
}

/** As a QEMU leaves it: memory of 1 GiB with 1 MiB in it, and things that nobody needs afterwards. */
async function make(store: TemplateStore, image: string) {
  const files = await store.begin(keyOf(image), owner)
  writeFileSync(files.ram, Buffer.alloc(1 << 20, 1))
  truncateSync(files.ram, 1 << 30)
  writeFileSync(files.state, 'state')
  writeFileSync(files.disk, 'disk')
  writeFileSync(join(files.folder, 'console.log'), 'login:')
  const subject = { image, vcpus: 1, memoryMib: 1024 }
  return store.publish({ subject, parts: partsOf(image), diskGid: owner.gid })
}

t.test('a template is there as soon as it is published, for root alone, and after a restart', async (t) => {
  const { folder, clock, open } = openStore(t)
  const store = open()
  await store.load()
  const { template, settled } = await make(store, 'tiny')
  t.equal(store.find(template.key)?.subject.image, 'tiny')
  t.ok(template.bytes >= 1 << 20 && template.bytes < 1 << 24, 'counted as what it takes, not as long as it is')
  t.same(readdirSync(folder), [template.key])
  t.notOk(existsSync(join(template.files.folder, 'console.log')))
  const modeOf = (path: string) => [statSync(path).uid, statSync(path).gid, statSync(path).mode & 0o7777]
  t.same(modeOf(folder), [0, 0, 0o711])
  t.same(modeOf(template.files.folder), [0, 0, 0o700])
  t.same(modeOf(template.files.ram), [0, 0, 0o600])
  t.same(modeOf(template.files.disk), [0, owner.gid, 0o640])
  await settled
  clock.nowMs = 5000
  await store.recordUse(template.key)
  await store.recordUse(template.key)
  const again = open()
  await again.load()
  const { bytes, ...found } = again.find(template.key) ?? { bytes: 0 }
  const { bytes: _, ...expected } = { ...template, usedMs: 5000, uses: 2 }
  t.same(found, expected)
  t.ok(bytes >= template.bytes)
})

t.test('a start removes what is half made, half removed or damaged, and nothing that is not its own', async (t) => {
  const { folder, open } = openStore(t)
  const store = open()
  await store.load()
  for (const image of ['whole', 'no-ram', 'cut', 'other-parts']) await (await make(store, image)).settled
  rmSync(join(folder, keyOf('no-ram'), 'ram'))
  truncateSync(join(folder, keyOf('cut'), 'template.json'), 10)
  const record = { version: 1, subject: { image: 'x', vcpus: 1, memoryMib: 1 }, madeMs: 1, bootId: 'x' }
  const wrong = JSON.stringify({ ...record, parts: partsOf('whole') })
  writeFileSync(join(folder, keyOf('other-parts'), 'template.json'), wrong)
  writeFileSync((await store.begin(keyOf('half'), owner)).ram, 'half')
  mkdirSync(join(folder, `removing-${keyOf('gone')}`))
  mkdirSync(join(folder, 'lost+found'))
  const again = open()
  await again.load()
  t.same(
    again.all().map(({ subject }) => subject.image),
    ['whole'],
  )
  t.same(readdirSync(folder).sort(), [keyOf('whole'), 'lost+found'].sort())
})

t.test('what had not reached the disk when the machine went down is not trusted', async (t) => {
  const { folder, open } = openStore(t)
  const store = open()
  await store.load()
  for (const image of ['settled', 'not-settled']) await (await make(store, image)).settled
  rmSync(join(folder, keyOf('not-settled'), 'settled'))
  for (const image of ['settled', 'not-settled']) {
    const subject = { image, vcpus: 1, memoryMib: 1024 }
    const record = { version: 1, subject, parts: partsOf(image), madeMs: 1, bootId: 'an earlier boot' }
    writeFileSync(join(folder, keyOf(image), 'template.json'), JSON.stringify(record))
  }
  const again = open()
  await again.load()
  t.same(
    again.all().map(({ subject }) => subject.image),
    ['settled'],
  )
})

t.test('what is held is not removed, however often it is held', async (t) => {
  const { folder, open } = openStore(t)
  const store = open()
  await store.load()
  const key = keyOf('tiny')
  await (await make(store, 'tiny')).settled
  const [one, other] = [store.hold(key), store.hold(key)]
  t.equal(await store.remove(key), 'held')
  one()
  t.equal(await store.remove(key), 'held')
  t.equal(store.find(key)?.isHeld, true)
  other()
  t.equal(await store.remove(key), 'removed')
  t.same(readdirSync(folder), [])
  t.equal(await store.remove(key), 'unknown')
})

t.test('an abandoned one leaves nothing, and the next try begins with nothing', async (t) => {
  const { folder, open } = openStore(t)
  const store = open()
  await store.load()
  writeFileSync((await store.begin(keyOf('tiny'), owner)).ram, 'old')
  const files = await store.begin(keyOf('tiny'), owner)
  t.same(readdirSync(files.folder), [])
  t.equal(statSync(files.folder).uid, owner.uid)
  await store.abandon(keyOf('tiny'))
  await store.abandon(keyOf('tiny'))
  t.same(readdirSync(folder), [])
})
