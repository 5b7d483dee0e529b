import t from 'tap'
import { renderExports } from '../../lib/network/nfs-export.ts'

const folders = [
  { path: '/home', readOnly: false },
  { path: '/apps', readOnly: true },
]
const identities = (text: string) =>
  [...text.matchAll(/Anonymous_([UG])id = (\d+);/g)].map(([, kind, id]) => `${kind}${id}`)

t.test("an export acts as the run's user for whoever asks, and for root as nobody", async (t) => {
  for (const [uid, gid, expected] of [
    [2001, 100, ['U2001', 'G100']],
    // A group is what Slurm says it is; its rights are the user's on the node, too.
    [2001, 0, ['U2001', 'G0']],
    [0, 0, ['U65534', 'G65534']],
    [0, 100, ['U65534', 'G65534']],
  ] as const) {
    const text = renderExports({ run: 'j7r0', uid, gid, addresses: ['10.77.0.2'], folders }, [101, 102])
    // For everyone and for the run's VMs, of each folder.
    t.same(identities(text), [...expected, ...expected, ...expected, ...expected])
    t.equal(text.match(/Squash = All_Squash;/g)?.length, 4)
    t.notMatch(text, /No_Root_Squash/i)
  }
})

t.test('a folder whose name would be more than a name in the configuration is not exported', async (t) => {
  for (const path of ['/a"b', '/a\\b', '/a\nb']) {
    const of = { run: 'j7r0', uid: 1, gid: 1, addresses: ['10.77.0.2'], folders: [{ path, readOnly: true }] }
    t.throws(() => renderExports(of, [101]), { code: 'config-invalid' })
  }
})
