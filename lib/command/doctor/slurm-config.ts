// What Slurm runs with, from `scontrol show config`: the daemons' view, not the file's, which may have changed since.
import { runTool } from './run-tool.ts'

export interface SlurmConfig {
  /** A key's value; undefined where it is not set (`(null)`) or unknown. Keys that repeat (`Prolog[0]`) are joined by commas. */
  value(key: string): string | undefined
  /** The controller's time when it answered, to the second. */
  readonly controllerTime: Date | undefined
  /** This host's time between question and answer. */
  readonly askedAt: Date
}

/** Undefined where slurmctld does not answer. */
export async function askSlurm(options: {
  commandsFolder: string
  configFile: string
}): Promise<SlurmConfig | undefined> {
  const environment = { SLURM_CONF: options.configFile, TZ: 'UTC0', SLURM_TIME_FORMAT: 'standard' }
  const before = Date.now()
  const result = await runTool(`${options.commandsFolder}/scontrol`, ['show', 'config'], environment)
  if (result.exitCode !== 0) return undefined
  return parseSlurmConfig(result.stdout, new Date((before + Date.now()) / 2))
}

/** Lines `Key = value`; in the first one slurmctld's own time, which is UTC since we ask in that zone. */
export function parseSlurmConfig(text: string, askedAt: Date): SlurmConfig {
  const values = new Map<string, string>()
  for (const line of text.split('\n')) {
    const [, key, value = ''] = /^([A-Za-z_]+)(?:\[\d+\])?\s*= ?(.*)$/.exec(line) ?? []
    if (key === undefined || value === '(null)') continue
    const name = key.toLowerCase()
    const before = values.get(name)
    values.set(name, before === undefined ? value.trim() : `${before},${value.trim()}`)
  }
  const stamp = /^Configuration data as of (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)/m.exec(text)?.[1]
  return {
    value: (key) => values.get(key.toLowerCase()) || undefined,
    controllerTime: stamp === undefined ? undefined : new Date(`${stamp}Z`),
    askedAt,
  }
}

/** The number in front of a value such as `900 sec`; undefined for `UNLIMITED` and where there is none. */
export function secondsOf(value: string | undefined): number | undefined {
  const match = /^(\d+)/.exec(value ?? '')
  return match === null ? undefined : Number(match[1])
}
