// One valid body for each message and kind, in the hardest spelling it has. Data only.

const nobody = 65534
const run = { job: 123, restart: 0 }
const nodeRun = { ...run, node: 'n1' }
const owner = { uid: nobody, gid: nobody, user: 'alice' }
const request = { image: 'debian12', revision: '2026.01', perNode: 2, script: 'guest' }
const why = 'a <reason> & "quotes",\nin two lines\ttoo'

const share = {
  deadline: '2026-11-22T10:00:00.000Z',
  image: { name: 'debian12', revision: '1' },
  ...owner,
  vni: 0xa1b2,
  prefixLength: 24,
  cpus: '0,2-3',
  memoryMib: 2048,
  node: 'n1',
  vmCpus: '2*2',
  vmMemoryMib: '900,899',
  layout: {
    ...{ nodes: 'n[1+2],n7', underlays: '10.0.0.2+3', vms: '2*3', slots: '1*6' },
    ...{ hostnames: 'vm-[0001+6]', addresses: '10.1.0.2+5,10.1.0.9', macs: '52:54:00:00:00:01+6' },
  },
}

/** One valid body for each message and kind; a test fails when a message has none. */
export const examples: Readonly<Record<string, unknown>> = {
  'run-begin request': { ...run, ...owner, account: '', partition: 'main', nodes: 'n[1-2]', selector: '10_3', request },
  'run-begin reply': { outcome: 'again' },
  'run-end request': run,
  'run-end reply': {},
  'node-prepare request': { ...run, ...owner, request: { image: 'tiny', perNode: 256, script: 'host' } },
  'node-prepare reply': { outcome: 'refused', reason: why },
  'node-end request': run,
  'node-end reply': { outcome: 'removed' },
  'check-request request': { request },
  'check-request reply': {},
  'list-runs request': { all: true, job: 5 },
  'list-runs reply': {
    runs: [
      {
        ...run,
        user: 'Zoë Ω 𝔘',
        image: 'tiny',
        state: 'committed',
        began: '2026-11-22T10:00:00Z',
        peakMemoryMib: 132,
        cpuTimeMs: 3100,
        vms: [{ name: 'j123r0v0', hostname: 'vm0', node: 'n1', state: 'running' }],
      },
      {
        ...run,
        restart: 1,
        user: 'x',
        image: 'tiny',
        state: 'lost',
        reason: why,
        began: '2026-11-22T10:00:00Z',
        vms: [],
      },
    ],
  },
  'list-images request': {},
  'list-images reply': {
    images: [{ name: 'tiny', revision: '1', os: 'Debian 12', allowed: false, memoryLimitMib: 4096, cpuLimit: 4 }],
  },
  'show-image request': { name: 'tiny' },
  'show-image reply': { xml: '<image name="tiny">\n  <os>&amp;</os>\r\n ]]> </image>\n' },
  'read-console request': { job: 5, vm: 3, offset: 0 },
  'read-console reply': { offset: 2 ** 40, end: 2 ** 41, data: new Uint8Array([0, 255, 27, 10]), state: 'committed' },
  'tell-run request': run,
  'tell-run reply': {
    run: {
      ...{ uid: 1000, gid: 1000, user: 'x', script: 'guest', state: 'lost', reason: why },
      began: '2026-11-22T10:00:00Z',
      share,
      batch: { name: 'build-42', content: '0f'.repeat(32) },
      missing: [{ vm: 'b7r0v1', reason: why }],
    },
  },
  'forget-node request': { node: 'n1' },
  'forget-node reply': { runs: [run] },
  'get-console request': { ...run, vm: 0, offset: 7 },
  'get-console reply': { offset: 7, end: 7, data: new Uint8Array() },
  'subscribe request': { events: ['run-state'], job: 5 },
  'subscribe reply': {},
  'run-state event': { ...run, state: 'ended' },
  'get-share request': nodeRun,
  'get-share reply': { state: 'share', share },
  'report-prepared request': nodeRun,
  'report-prepared reply': { verdict: 'abort', reason: why },
  'report-failed request': { ...nodeRun, code: 'vm-boot-timeout', reason: why },
  'report-failed reply': {},
  'report-ended request': { ...nodeRun, peakMemoryBytes: 2n ** 63n, cpuTimeNs: 0n },
  'report-ended reply': {},
  'report-lost request': { ...nodeRun, vm: 'j123r0v0', reason: '' },
  'report-lost reply': {},
  'find-ended-jobs request': { node: 'n1', jobs: [{ job: 7 }, { job: 8 }] },
  'find-ended-jobs reply': { jobs: [{ job: 8 }] },
  'node-hello request': { node: 'n1', address: 'fe80::1', health: 'ready', runs: [{ ...run, state: 'prepared' }] },
  'node-hello reply': { runs: [{ ...run, verdict: 'commit' }] },
  'get-verdict request': nodeRun,
  'get-verdict reply': { verdict: 'abort', reason: why },
  'verdict request': { ...run, verdict: 'lost' },
  'verdict reply': {},
  'prepare-batch request': {
    ...{ job: 4_294_967_303, restart: 0, uid: 1000, gid: 1000, user: 'x' },
    ...{ name: 'build-42', content: '0f'.repeat(32) },
  },
  'prepare-batch reply': {},
  'create-batch request': {
    ...{ name: 'build-42', image: 'tiny', revision: '1', nodes: 'n[1-2]', perNode: 2, cpus: 1, memoryMib: 200 },
    ...{ strategy: 'best-effort', user: 'x', withinSeconds: 60 },
  },
  'create-batch reply': { batch: 7, outcome: 'known' },
  'destroy-batch request': { batch: 7 },
  'destroy-batch reply': { batch: 7, state: 'ending' },
  'expect-run request': { ...run, script: 'host' },
  'expect-run reply': {},
  'destroy-run request': run,
  'destroy-run reply': {},
  'node-status request': {},
  'node-status reply': { node: 'n1', release: '0.1.0', health: 'fault', reason: why, runs: [] },
  'list-templates request': {},
  'list-templates reply': {
    maxMib: 16_384,
    templates: [
      {
        ...{ key: '0123456789abcdef01234567', image: 'tiny', vcpus: 1, memoryMib: 272, uid: 0, mib: 79, uses: 3 },
        ...{ made: '2026-11-22T10:00:00Z', used: '2026-11-22T10:00:01.5Z', stale: why },
      },
    ],
    making: [{ image: 'tiny', vcpus: 2, memoryMib: 512 }],
  },
  'warm-template request': { image: 'tiny', vcpus: 1, memoryMib: 272, uid: 1000 },
  'warm-template reply': { outcome: 'made', key: '0123456789abcdef01234567' },
  'forget-templates request': {},
  'forget-templates reply': { removed: 2, held: 0 },
  'greeting request': {},
  'greeting reply': { name: '0123456789abcdef0123456789abcdef' },
  'protocol-error request': {},
  'protocol-error reply': {},
}
