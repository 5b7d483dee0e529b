// Slurm's accounting on the controller: MariaDB with a folder and a unix socket of its own, slurmdbd, and who may charge what.
// No network port of the database, no password: the socket lies in a host that only the tests enter.
import { chownSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { acceptsOnSocket, type DaemonSpec, type LiveHost } from './daemons.ts'
import { attempt, command } from './exec.ts'
import type { Layout } from './layout.ts'
import { enter } from './namespaces.ts'
import { clusterUsers, machineUid } from './users.ts'

/** Where libmariadb looks by itself; slurmdbd cannot be told another place. */
const socketFolder = '/run/mysqld'
const database = '/var/lib/slurm/database'

/** Small and careless: what a power loss would take is thrown away with the cluster anyway. */
const server = [
  ...['/usr/sbin/mariadbd', '--no-defaults', '--user=slurm', `--datadir=${database}`],
  ...['--skip-networking', '--lc-messages-dir=/usr/share/mysql', '--performance-schema=OFF'],
  ...['--innodb-flush-method=nosync', '--innodb-flush-log-at-trx-commit=0', '--innodb-doublewrite=0'],
  ...['--innodb-log-file-size=4M', '--innodb-buffer-pool-size=16M', '--innodb-autoextend-increment=1'],
  ...['--innodb-data-file-path=ibdata1:10M:autoextend', '--innodb-temp-data-file-path=ibtmp1:2M:autoextend'],
  ...['--innodb-lock-wait-timeout=900', '--key-buffer-size=1M', '--aria-pagecache-buffer-size=2M'],
  '--aria-log-file-size=8M',
]

const systemTables = '/usr/share/mysql/mysql_system_tables.sql'

/** An empty database with MariaDB's own tables: 0.3 s. */
async function makeDatabase({ host, running }: LiveHost): Promise<void> {
  const folder = join(host.folder, database)
  const uid = machineUid('slurm')
  const sockets = join(host.folder, socketFolder)
  mkdirSync(sockets, { recursive: true })
  chownSync(sockets, uid, uid)
  const made = `${folder}.made`
  if (existsSync(made)) return
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { mode: 0o700 })
  chownSync(folder, uid, uid)
  const input = `CREATE DATABASE mysql;\nUSE mysql;\n${readFileSync(systemTables, 'utf8')}`
  await command(enter(running, [...server, '--bootstrap']), { input, timeoutMs: 60_000 })
  writeFileSync(made, '')
}

export const mariadbdSpec: DaemonSpec = {
  name: 'mariadbd',
  argv: [
    ...[...server, '--skip-grant-tables'],
    ...[`--socket=${socketFolder}/mysqld.sock`, `--pid-file=${socketFolder}/mysqld.pid`],
  ],
  prepare: makeDatabase,
  isReady: ({ running }) => acceptsOnSocket(running, `${socketFolder}/mysqld.sock`),
  readyTimeoutMs: 20_000,
}

export const slurmdbdSpec: DaemonSpec = {
  name: 'slurmdbd',
  argv: ['/usr/sbin/slurmdbd', '-D'],
  isReady: async ({ running }) =>
    (await attempt(enter(running, ['/usr/bin/sacctmgr', '--noheader', 'list', 'cluster']))).exitCode === 0,
  readyTimeoutMs: 20_000,
}

/** slurmdbd refuses a file that others may read. */
export function writeDatabaseConfiguration(layout: Layout, address: string): void {
  const path = join(layout.folder, 'etc-slurm/slurmdbd.conf')
  const lines = [
    '# Test-only: no password, since the database has no network and no users.',
    ...['AuthType=auth/munge', 'DbdHost=ctl', `DbdAddr=${address}`, 'SlurmUser=slurm', 'DebugLevel=verbose'],
    ...['PidFile=/run/slurm/slurmdbd.pid', 'LogTimeFormat=iso8601_ms'],
    ...['StorageType=accounting_storage/mysql', 'StorageHost=localhost', 'StorageUser=slurm', 'StorageLoc=slurm_acct'],
  ]
  writeFileSync(path, `${lines.join('\n')}\n`, { mode: 0o600 })
  chownSync(path, machineUid('slurm'), machineUid('slurm'))
}

/** What slurm.conf says of it; JobAcctGather is there for sstat, and samples nothing by itself. */
export function accountingLines(address: string): string[] {
  return [
    ...['AccountingStorageType=accounting_storage/slurmdbd', `AccountingStorageHost=${address}`],
    ...['JobAcctGatherType=jobacct_gather/linux', 'JobAcctGatherFrequency=0'],
    // So large that no other number in a job's output is taken for its id.
    'FirstJobId=61001',
  ]
}

/** Accounts that a user may charge, the default one first. */
const accounts = ['physics', 'chemistry'] as const

/** The cluster with its accounts and users, as an administrator would load them; harmless where they are there. */
export async function addAssociations({ host, running }: LiveHost): Promise<void> {
  const users = accounts.flatMap((account) => [
    `Parent - '${account}'`,
    ...clusterUsers.map(({ name }) => `User - '${name}':DefaultAccount='${accounts[0]}'`),
  ])
  const lines = [
    "Cluster - 'vmrmtest'",
    "Parent - 'root'",
    "User - 'root':DefaultAccount='root':AdminLevel='Administrator'",
    ...accounts.map((account) => `Account - '${account}'`),
    ...users,
  ]
  writeFileSync(join(host.folder, 'run/associations'), `${lines.join('\n')}\n`)
  await command(enter(running, ['/usr/bin/sacctmgr', '--immediate', 'load', '/run/associations']))
}
