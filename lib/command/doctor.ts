// `vmrm doctor`: checks an installation, names what is wrong and how to mend it. It changes nothing.
import { defaultConfigPath, loadDaemonConfig } from '../config/load.ts'
import { toVmrmError } from '../errors/vmrm-error.ts'
import { type Command, readOptions, UsageError } from './command.ts'
import { type Check, type DoctorContext, fail, type Role, roles } from './doctor/check.ts'
import { configurationChecks } from './doctor/configuration.ts'
import { daemonChecks } from './doctor/daemons.ts'
import { folderChecks } from './doctor/folders.ts'
import { hypervisorChecks } from './doctor/hypervisor.ts'
import { kernelChecks } from './doctor/kernel.ts'
import { nodesCheck } from './doctor/nodes.ts'
import { findOwnRoles } from './doctor/own-roles.ts'
import { partsCheck } from './doctor/parts.ts'
import { plugInCheck } from './doctor/plug-in.ts'
import { type CheckedFinding, renderReport } from './doctor/report.ts'
import { serviceChecks } from './doctor/services.ts'
import { slurmChecks } from './doctor/slurm.ts'
import { askSlurm, type SlurmConfig } from './doctor/slurm-config.ts'

const usage = 'vmrm doctor [--role node|controller|submit]… [--json]'
const failedExit = 1

export const checks: readonly Check[] = [
  ...configurationChecks,
  partsCheck,
  ...slurmChecks,
  plugInCheck,
  ...daemonChecks,
  nodesCheck,
  ...hypervisorChecks,
  ...folderChecks,
  ...kernelChecks,
  ...serviceChecks,
]

export const doctor: Command = {
  summary: 'check this installation: what is wrong, and how to mend it',
  usage,
  help: `Checks this host and what it needs of others, and changes nothing. Run it as root; other users cannot look everywhere.
  --role ROLE  what this host is (may be given several times); default: what Slurm says it is
  --json       one object with roles and findings
One line a check: ok, warn (VM jobs run, but not as well as they could) or FAIL (they cannot); then, for each problem, what
follows from it and the command or line that mends it. Exit code 0: nothing failed; 1: something did.`,
  async run(args) {
    const { values, positionals } = readOptions(usage, args, {
      role: { type: 'string', multiple: true },
      json: { type: 'boolean' },
    })
    const wanted = (values.role ?? []).map(parseRole)
    if (positionals.length > 0) throw new UsageError('it takes no arguments', usage)
    const { findings, roles: own } = await examine(wanted)
    const report =
      values.json === true ? `${JSON.stringify({ roles: own, findings }, null, 2)}\n` : renderReport(findings)
    if (process.getuid?.() !== 0) process.stderr.write('vmrm: not root: some checks see less than they should\n')
    process.stdout.write(report)
    return findings.some(({ verdict }) => verdict === 'fail') ? failedExit : 0
  },
}

function parseRole(text: string): Role {
  const role = roles.find((one) => one === text)
  if (role === undefined) throw new UsageError(`there is no role ${JSON.stringify(text)}`, usage)
  return role
}

/** Without vmrmd.xml nothing else can be checked: it says where everything is. */
async function examine(
  wanted: readonly Role[],
): Promise<{ findings: readonly CheckedFinding[]; roles: readonly Role[] }> {
  let config: DoctorContext['config']
  try {
    config = loadDaemonConfig(defaultConfigPath)
  } catch (thrown) {
    const mend = 'See vmrmd.xml(5); the other checks need this file.'
    const finding = fail(toVmrmError(thrown).message, 'No part of vmrm works on this host.', mend)
    return { findings: [{ check: 'configuration', ...finding }], roles: wanted }
  }
  let asked: Promise<SlurmConfig | undefined> | undefined
  const slurm = () => {
    asked ??= askSlurm({ commandsFolder: config.slurm.commands, configFile: config.slurm.config })
    return asked
  }
  const own = wanted.length > 0 ? new Set(wanted) : await findOwnRoles(config, await slurm())
  const context: DoctorContext = { roles: own, configPath: defaultConfigPath, config, slurm }
  const chosen = checks.filter((check) => check.roles.some((role) => own.has(role)))
  // One after another: half of them ask the same few daemons, and a loaded node must not be loaded more.
  const findings: CheckedFinding[] = []
  for (const check of chosen) findings.push(...(await runCheck(check, context)))
  return { findings, roles: [...own] }
}

async function runCheck(check: Check, context: DoctorContext): Promise<CheckedFinding[]> {
  try {
    return (await check.run(context)).map((finding) => ({ check: check.name, ...finding }))
  } catch (thrown) {
    const { message, hint } = toVmrmError(thrown)
    return [{ check: check.name, ...fail(message, 'The check could not be made.', hint || 'See the message.') }]
  }
}
