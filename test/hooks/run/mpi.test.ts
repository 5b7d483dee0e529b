// The way of a task's MPI library to its server on the host, through real vmrm-run, relay and agent. The servers are the test's own sockets:
// what they get and what the task gets must be the same bytes, whatever happens to vmrmd meanwhile.
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import t from 'tap'
import { buildC, Rig } from '../../guest/rig.ts'
import { until } from '../../support/until.ts'

const rig = await Rig.start({
  agent: buildC('vmrm-agent', 'sanitized'),
  run: buildC('vmrm-run', 'sanitized'),
  orphanGraceMs: 5000,
})
t.teardown(() => rig.stop())

/** A server on the loopback as slurmstepd's is, and the variables that name it. */
async function pmixServer(
  onSocket: (socket: Socket) => void,
): Promise<{ server: Server; env: Record<string, string> }> {
  const server = createServer({ allowHalfOpen: true }, onSocket)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const uri = `pmix-server.7;tcp4://127.0.0.1:${port}`
  const names = ['PMIX_SERVER_URI41', 'PMIX_SERVER_URI2', 'PMIX_SERVER_URI3']
  const env = { SLURM_MPI_TYPE: 'pmix', ...Object.fromEntries(names.map((name) => [name, uri])) }
  return { server, env }
}

/** Python, since a shell has no sockets: connects to where the variable says and runs `body` with the socket `s`. */
const connectAnd = (body: string): string[] => [
  'python3',
  '-c',
  `import os, socket, sys, hashlib
host, port = os.environ['PMIX_SERVER_URI41'].split('//')[1].split(':')
assert all(os.environ[n].endswith(host + ':' + port) for n in ('PMIX_SERVER_URI2', 'PMIX_SERVER_URI3'))
def connect():
    s = socket.socket()
    s.connect((host, int(port)))
    return s
s = connect()
${body}`,
]

const echo = (socket: Socket): void => void socket.pipe(socket)

t.test(
  'pmix: connections at the same time and one after the other reach the server, and end as it ends them',
  async (t) => {
    const { server, env } = await pmixServer(echo)
    t.teardown(() => server.close())
    const hostPort = env.PMIX_SERVER_URI2?.split(':').at(-1)
    const r = rig.run({
      argv: connectAnd(`
other = connect()
for n in range(20):
    s.sendall(b'one %d' % n); other.sendall(b'two %d' % n)
    want = len(b'one %d' % n)
    print(s.recv(want, socket.MSG_WAITALL).decode(), other.recv(want, socket.MSG_WAITALL).decode())
s.shutdown(socket.SHUT_WR)
print('end', s.recv(1), port != '${hostPort}')
third = connect(); third.sendall(b'three'); print(third.recv(5, socket.MSG_WAITALL).decode())`),
      env,
    })
    t.match(await r.ended, { code: 0 }, r.stderr)
    const lines = r.stdout.trim().split('\n')
    t.equal(lines[19], 'one 19 two 19')
    t.strictSame(lines.slice(20), ["end b'' True", 'three'])
  },
)

t.test('pmix: more than all windows, both ways, over five restarts of vmrmd', async (t) => {
  const { server, env } = await pmixServer(echo)
  t.teardown(() => server.close())
  const r = rig.run({
    argv: connectAnd(`
import threading
piece, count = bytes(range(256)) * 1024, 40
def send():
    for n in range(count): s.sendall(piece)
    s.shutdown(socket.SHUT_WR)
threading.Thread(target=send).start()
digest, total = hashlib.sha256(), 0
while True:
    data = s.recv(1 << 16)
    if not data: break
    digest.update(data); total += len(data)
    if total // (1 << 20) != (total - len(data)) // (1 << 20): print('mib', flush=True)
print(total, digest.hexdigest())`),
    env,
  })
  for (let restarts = 0; restarts < 5; restarts++) {
    const before = r.stdout.length
    await until('more', () => r.stdout.length > before || r.child.exitCode !== null)
    await rig.restartDaemon()
  }
  t.match(await r.ended, { code: 0 }, r.stderr)
  const piece = Buffer.from(Array.from({ length: 256 * 1024 }, (_, i) => i % 256))
  const digest = createHash('sha256')
  for (let n = 0; n < 40; n++) digest.update(piece)
  t.match(r.stdout, `${40 * piece.length} ${digest.digest('hex')}\n`)
})

t.test('pmix: a server that refuses or hangs up looks so in the guest', async (t) => {
  const { server, env } = await pmixServer((socket) => socket.end('bye'))
  const hangs = rig.run({ argv: connectAnd(`print(s.recv(3, socket.MSG_WAITALL), s.recv(1))`), env })
  t.match(await hangs.ended, { code: 0 }, hangs.stderr)
  t.equal(hangs.stdout, "b'bye' b''\n")
  server.close()
  await once(server, 'close')
  const refused = rig.run({
    argv: connectAnd(`
try:
    s.sendall(b'x'); print(s.recv(1))
except OSError as e:
    print('gone')`),
    env,
  })
  t.match(await refused.ended, { code: 0 }, refused.stderr)
  t.match(refused.stdout, /^(b''|gone)\n$/)
})

t.test('pmix: what names the host alone does not go into the guest', async (t) => {
  const { server, env } = await pmixServer(echo)
  t.teardown(() => server.close())
  const r = rig.run({
    argv: ['sh', '-c', 'env | grep -E "^(PMIX|PMI|OMPI|MPIR)_" | grep -v _URI | sort'],
    env: {
      ...env,
      PMIX_GDS_MODULE: 'ds21,ds12,hash',
      PMIX_SECURITY_MODE: 'munge,native',
      PMIX_DSTORE_21_BASE_PATH: '/var/spool/slurmd/pmix.1.0//x',
      PMIX_SERVER_TMPDIR: '/var/spool/slurmd/pmix.1.0',
      PMIX_RANK: '3',
      OMPI_MCA_btl: 'self,tcp,foo',
      SLURM_SPANK_VMRM_PER_NODE: '2',
    },
  })
  await r.ended
  t.strictSame(r.stdout.trim().split('\n'), [
    'MPIR_CVAR_NOLOCAL=1',
    'OMPI_MCA_btl=self,tcp,foo',
    'PMIX_GDS_MODULE=hash',
    'PMIX_RANK=3',
    'PMIX_SECURITY_MODE=native',
    'PMIX_SERVER_TMPDIR=/tmp',
  ])
})

/** vmrm-run as slurmstepd starts it: with its end of a socket pair as a descriptor above 2. Python makes the pair and speaks as the server. */
function inheriting(
  fd: number,
  task: string,
): { ended: Promise<{ code: number | null; stdout: string; stderr: string }> } {
  const server = `
import os, socket, subprocess, sys
mine, theirs = (socket.socket(fileno=os.dup2(s.detach(), 100 + n)) for n, s in enumerate(socket.socketpair()))
os.dup2(theirs.fileno(), ${fd}); os.set_inheritable(${fd}, True); theirs.close()
environment = dict(os.environ, PMI_FD='${fd}', SLURM_MPI_TYPE='pmi2', SLURM_JOB_ID='7', SLURM_STEP_ID='0', SLURM_LOCALID='0')
child = subprocess.Popen(sys.argv[1:], env=environment, pass_fds=[${fd}])
os.close(${fd})
while True:
    line = mine.recv(1000)
    if not line: break
    mine.sendall(b'answer to ' + line)
sys.stderr.write('the server saw the end\\n')
sys.exit(child.wait())`
  const command = [rig.options.run, '--socket', rig.taskSocket, '--', 'sh', '-c', task]
  const child = spawn('python3', ['-c', server, ...command], { stdio: ['ignore', 'pipe', 'pipe'] })
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].on('data', (chunk: Buffer) => {
      said[name] += chunk.toString()
    })
  return { ended: once(child, 'close').then(([code]) => ({ code, ...said })) }
}

t.test(
  'pmi2: the task inherits its socket at the number that PMI_FD says, across an exec, and its end is the server’s',
  async (t) => {
    for (const [fd, number] of [
      [10, '10'],
      [3, '10'],
      [42, '42'],
    ] as const) {
      const task =
        'printf %s hello >&$PMI_FD; dd bs=100 count=1 <&$PMI_FD 2>/dev/null; echo " at $PMI_FD"; ls /proc/self/fd | sort -n | tr "\\n" " "; exit 6'
      // dash cannot redirect from two digits.
      const done = await inheriting(fd, `exec bash -c '${task}'`).ended
      t.match(done, { code: 6, stderr: 'the server saw the end\n' })
      t.equal(done.stdout, `answer to hello at ${number}\n0 1 2 3 ${number} `, `fd ${fd}`)
    }
  },
)

t.test('pmi2: what is not a socket is not taken', async (t) => {
  const r = rig.run({
    argv: ['sh', '-c', 'echo $PMI_FD; ls /proc/self/fd | tr "\\n" " "'],
    env: { SLURM_MPI_TYPE: 'pmi2', PMI_FD: '1' },
  })
  t.match(await r.ended, { code: 0 }, r.stderr)
  t.equal(r.stdout, '1\n0 1 2 3 ')
})

t.test('types and servers that cannot work are refused with what works', async (t) => {
  const remote = { SLURM_MPI_TYPE: 'pmix_v4', PMIX_SERVER_URI4: 'pmix-server.7;tcp4://10.1.2.3:4567' }
  const here = 'x;tcp4://127.0.0.1'
  const secured = { SLURM_MPI_TYPE: 'pmix', PMIX_SERVER_URI4: `${here}:60000`, PMIX_SECURITY_MODE: 'munge' }
  // As a user would forge them, to reach a service of the node from the guest.
  const service = { SLURM_MPI_TYPE: 'pmix', PMIX_SERVER_URI4: `${here}:22` }
  const disputed = { SLURM_MPI_TYPE: 'pmix', PMIX_SERVER_URI0: `${here}:60001`, PMIX_SERVER_URI4: `${here}:60000` }
  for (const [env, says] of [
    [
      { SLURM_MPI_TYPE: 'cray_shasta' },
      'vmrm: --mpi=cray_shasta does not work in VMs; --mpi=pmi2, --mpi=pmix and --mpi=none do\n',
    ],
    [
      remote,
      /^vmrm: --mpi=pmix_v4 cannot be used in a VM here: .*10\.1\.2\.3:4567, which is not a port of its own on the loopback/,
    ],
    [service, /127\.0\.0\.1:22, which is not a port of its own on the loopback/],
    [disputed, /^vmrm: the environment names more than one PMIx server/],
    [secured, /^vmrm: --mpi=pmix cannot be used in a VM here: .* asks for munge/],
  ] as const) {
    const r = rig.run({ argv: ['true'], env })
    t.match(await r.ended, { code: 65 })
    t.match(r.stderr, says)
  }
  const batch = rig.run({ argv: ['true'], env: { SLURM_MPI_TYPE: 'cray_shasta' }, options: ['--vm', '0'] })
  t.match(await batch.ended, { code: 0 }, 'a command beside the steps has no MPI')
})

t.test('more connections at once than there may be are closed; those in order work on', async (t) => {
  const { server, env } = await pmixServer(echo)
  t.teardown(() => server.close())
  const r = rig.run({
    argv: connectAnd(`
many = [connect() for n in range(40)]
for one in many:
    try: one.sendall(os.urandom(5000))
    except OSError: pass
many[0].close(); s.sendall(b'still'); print(s.recv(5, socket.MSG_WAITALL).decode())`),
    env,
  })
  t.match(await r.ended, { code: 0 }, r.stderr)
  t.equal(r.stdout, 'still\n')
  const after = rig.run({ argv: connectAnd(`s.sendall(b'ok'); print(s.recv(2).decode())`), env })
  t.match(await after.ended, { code: 0 })
  t.equal(after.stdout, 'ok\n')
})
