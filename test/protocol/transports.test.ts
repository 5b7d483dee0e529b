// The client and the server together, over a real unix socket and over TCP with a real munged: the same behaviour.
import { connect } from 'node:net'
import t from 'tap'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { startMunged } from '../support/munged.ts'
import { ownUid, serve } from '../support/protocol/fixtures.ts'

const munged = await startMunged()
t.teardown(() => munged.stop())

const image = (name: string) => ({ xml: `<image name="${name}"/>` })
const later = () => {
  let resolve: () => void = () => {}
  const promise = new Promise<void>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}

for (const kind of ['local', 'munge'] as const) {
  t.test(`${kind}: a call is answered by the handler of its type, which is told who asks`, async (t) => {
    const callers: unknown[] = []
    const { client } = await serve(t, {
      munged,
      handlers: {
        'show-image': (request, caller) => {
          callers.push(caller)
          return image(request.name)
        },
      },
    })
    t.same(await client(kind).call('show-image', { name: 'tiny' }), image('tiny'))
    t.match(callers, [{ uid: ownUid, from: kind, ...(kind === 'local' ? { pid: process.pid } : { host: 'user' }) }])
  })

  t.test(`${kind}: errors of handlers arrive with code, hint and quoted lines; bugs as internal`, async (t) => {
    const quoted = 'last\nlines\u0000\u001b'
    const { client } = await serve(t, {
      munged,
      handlers: {
        'show-image': (request) => {
          if (request.name === 'bug') throw new TypeError('oops')
          throw new VmrmError('image-unknown', `No image ${request.name}`, { quoted, hint: 'look' })
        },
        'list-runs': () => ({ runs: [{}] }) as never,
      },
    })
    const asked = client(kind)
    await t.rejects(asked.call('show-image', { name: 'x' }), {
      code: 'image-unknown',
      family: 'user',
      message: 'No image x',
      hint: 'look',
      quoted: 'last\nlines\uFFFD\uFFFD',
    })
    await t.rejects(asked.call('show-image', { name: 'bug' }), { code: 'internal', message: /oops/ })
    await t.rejects(asked.call('list-runs', { all: true }), { code: 'internal', message: /list-runs/ })
    await t.rejects(asked.call('list-images', {}), { code: 'not-permitted' }, 'a call without a handler')
    await t.rejects(asked.call('show-image', { name: 'NOT VALID' }), { code: 'message-invalid' }, 'nothing is sent')
  })

  t.test(
    `${kind}: 1000 pipelined calls are answered, each its own, on one connection, with bounded concurrency`,
    async (t) => {
      let running = 0
      let most = 0
      const { client } = await serve(t, {
        munged,
        limits: { requestsPerConnection: 16 },
        handlers: {
          'show-image': async (request) => {
            running += 1
            most = Math.max(most, running)
            while (most < 2) await new Promise((resolve) => setImmediate(resolve))
            running -= 1
            return image(request.name)
          },
        },
      })
      const asked = client(kind)
      const names = Array.from({ length: 1000 }, (_, index) => `image${index}`)
      const replies = await Promise.all(names.map((name) => asked.call('show-image', { name })))
      t.same(replies, names.map(image))
      t.ok(most > 1 && most <= 16, `${most} ran at once`)
    },
  )

  t.test(`${kind}: a lost connection fails every waiter at once, and the next call connects again`, async (t) => {
    const started = later()
    const { client, server } = await serve(t, {
      munged,
      handlers: {
        'show-image': async (request, _caller, { signal }) => {
          if (request.name !== 'hang') return image(request.name)
          started.resolve()
          await new Promise((resolve) => signal.addEventListener('abort', resolve))
          return image('late')
        },
      },
    })
    const asked = client(kind)
    const waiting = Promise.allSettled([1, 2, 3].map(() => asked.call('show-image', { name: 'hang' })))
    await started.promise
    asked.close()
    const began = Date.now()
    for (const result of await waiting)
      t.match(result, { status: 'rejected', reason: { code: 'controller-unreachable' } })
    t.ok(Date.now() - began < 1000)
    t.same(await asked.call('show-image', { name: 'again' }), image('again'))
    await server.close()
    await t.rejects(asked.call('show-image', { name: 'gone' }), { code: 'controller-unreachable' })
  })

  t.test(`${kind}: a call ends at its bound and by its signal, and the connection goes on`, async (t) => {
    const { client } = await serve(t, {
      munged,
      handlers: { 'show-image': (request) => (request.name === 'hang' ? new Promise(() => {}) : image(request.name)) },
    })
    const asked = client(kind)
    await t.rejects(asked.call('show-image', { name: 'hang' }, { timeoutMs: 30 }), {
      code: 'controller-unreachable',
      message: /within 30 ms/,
    })
    const enough = new AbortController()
    const call = asked.call('show-image', { name: 'hang' }, { signal: enough.signal })
    enough.abort(new Error('enough'))
    await t.rejects(call, { message: 'enough' })
    t.same(await asked.call('show-image', { name: 'ok' }), image('ok'))
  })

  t.test(`${kind}: a subscriber gets its events in order, until it is cut off`, async (t) => {
    const event = (job: number) => ({ job, restart: 0, state: 'ended' }) as const
    const cut = later()
    const { client, server } = await serve(t, {
      munged,
      handlers: {
        subscribe: (_request, _caller, context) => {
          for (let job = 1; job <= 5; job += 1) context.emit('run-state', event(job))
          void cut.promise.then(() => context.emit('run-state', event(6)))
          return {}
        },
      },
    })
    const events = await client(kind).subscribe({ events: ['run-state'] })
    const jobs: number[] = []
    await t.rejects(
      async () => {
        for await (const { body } of events) {
          jobs.push(body.job)
          if (body.job === 5) cut.resolve()
          if (body.job === 6) void server.close()
        }
      },
      { code: 'controller-unreachable' },
    )
    t.same(jobs, [1, 2, 3, 4, 5, 6])
  })

  t.test(`${kind}: closing lets running calls finish and takes no new ones`, async (t) => {
    const started = later()
    const go = later()
    const { client, server } = await serve(t, {
      munged,
      handlers: {
        'show-image': async (request) => {
          started.resolve()
          await go.promise
          return image(request.name)
        },
      },
    })
    const running = client(kind).call('show-image', { name: 'running' })
    await started.promise
    const closed = server.close()
    await t.rejects(client(kind).call('show-image', { name: 'new' }), { code: 'controller-unreachable' })
    go.resolve()
    t.same(await running, image('running'))
    await closed
  })

  t.test(`${kind}: a reply that is too large is an error of that call only`, async (t) => {
    const { client } = await serve(t, {
      munged,
      handlers: { 'show-image': ({ name }) => ({ xml: 'x'.repeat(name === 'huge' ? 600_000 : 370_000) }) },
    })
    const asked = client(kind)
    await t.rejects(asked.call('show-image', { name: 'huge' }), { code: 'message-too-large' })
    t.equal((await asked.call('show-image', { name: 'large' })).xml.length, 370_000)
  })
}

t.test('who may send what is enforced from the definitions', async (t) => {
  const run = { job: 1, restart: 0 }
  const stranger = { uid: 4242, gid: 4242, pid: 1 }
  const handlers = {
    'list-images': () => ({ images: [] }),
    'run-end': () => ({}),
    'get-verdict': () => ({ verdict: 'commit' as const }),
  }
  const trusted = await serve(t, { munged, handlers })
  const strange = await serve(t, { munged, handlers, peer: stranger })
  const foreign = await serve(t, { munged, handlers, trustedUids: [4343] })
  const node = await serve(t, { munged, handlers, role: 'node' })
  const cases = [
    ['root sends a hook message locally', trusted.client('local'), 'run-end', run, undefined],
    ['root sends a hook message over TCP', trusted.client('munge'), 'run-end', run, 'not-permitted'],
    [
      'root sends a node message over TCP',
      trusted.client('munge', { name: 'n1' }),
      'get-verdict',
      { ...run, node: 'n1' },
      undefined,
    ],
    ['a user sends a user message', strange.client('local'), 'list-images', {}, undefined],
    ['a user sends a hook message', strange.client('local'), 'run-end', run, 'not-permitted'],
    ['a user sends a node message', strange.client('local'), 'get-verdict', { ...run, node: 'n1' }, 'not-permitted'],
    ['a user sends a user message over TCP', foreign.client('munge'), 'list-images', {}, undefined],
    [
      'a user sends a node message over TCP',
      foreign.client('munge'),
      'get-verdict',
      { ...run, node: 'n1' },
      'not-permitted',
    ],
    [
      'a user claims to be a node',
      foreign.client('munge', { name: 'n1' }),
      'list-images',
      {},
      'controller-unreachable',
    ],
    ["a controller's message goes to a node", node.client('local'), 'list-images', {}, 'not-permitted'],
  ] as const
  for (const [name, client, type, body, code] of cases) {
    const outcome = await client.call(type, body as never).then(
      () => undefined,
      (error) => error.code,
    )
    t.equal(outcome, code, `${name}: ${code ?? 'answered'}`)
  }
})

t.test('one user cannot take every connection', async (t) => {
  const { client } = await serve(t, {
    handlers: { 'list-images': () => ({ images: [] }) },
    trustedUids: [4343],
    limits: { connectionsPerUser: 3 },
  })
  const results = []
  for (let count = 0; count < 5; count += 1) {
    results.push(
      await client('local')
        .call('list-images', {})
        .then(
          () => 'answered',
          (error) => error.message,
        ),
    )
  }
  t.same(results.slice(0, 3), ['answered', 'answered', 'answered'])
  for (const refused of results.slice(3)) t.match(refused, /more than 3 connections|closed/)
})

t.test('connections beyond the limit are closed, also those that say nothing', async (t) => {
  const { client, path } = await serve(t, {
    handlers: { 'list-images': () => ({ images: [] }) },
    trustedUids: [4343],
    limits: { connections: 2, readTimeoutMs: 200 },
  })
  const silent = [connect(path), connect(path)]
  t.teardown(() => silent.map((socket) => socket.destroy()))
  await Promise.all(silent.map((socket) => new Promise((resolve) => socket.once('connect', resolve))))
  await t.rejects(client('local').call('list-images', {}), { code: 'controller-unreachable' })
  await Promise.all(silent.map((socket) => new Promise((resolve) => socket.resume().once('close', resolve))))
  const deadline = Date.now() + 5_000
  let reply: unknown
  while (reply === undefined && Date.now() < deadline) {
    reply = await client('local')
      .call('list-images', {})
      .catch(() => undefined)
  }
  t.same(reply, { images: [] }, 'silent ones are gone after the read timeout')
})
