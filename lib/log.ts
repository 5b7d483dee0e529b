// Log lines: `2026-01-01T00:00:00.000Z info event.name key=value …`. It owns their form, never where they go.

export type LogLevel = 'error' | 'warn' | 'info' | 'debug'
export type LogFields = Readonly<Record<string, string | number | bigint | boolean | undefined>>

export interface Log {
  error(event: string, fields?: LogFields): void
  warn(event: string, fields?: LogFields): void
  info(event: string, fields?: LogFields): void
  debug(event: string, fields?: LogFields): void
  /** A log that adds these fields to every line. */
  with(fields: LogFields): Log
}

const ranks = { error: 0, warn: 1, info: 2, debug: 3 } as const satisfies Record<LogLevel, number>

function renderValue(value: string | number | bigint | boolean): string {
  const text = String(value)
  return /^[\w.:/@%+,-]+$/.test(text) ? text : JSON.stringify(text)
}

/** `write` gets whole lines with their newline; lines above `level` are left out. Control characters are escaped. */
export function createLog(options: { level: LogLevel; write: (line: string) => void; now?: () => Date }): Log {
  const now = options.now ?? (() => new Date())
  const make = (base: LogFields): Log => {
    const at =
      (level: LogLevel) =>
      (event: string, fields: LogFields = {}) => {
        if (ranks[level] > ranks[options.level]) return
        const parts = [now().toISOString(), level, event]
        for (const [key, value] of Object.entries({ ...base, ...fields })) {
          if (value !== undefined) parts.push(`${key}=${renderValue(value)}`)
        }
        options.write(`${parts.join(' ')}\n`)
      }
    return {
      error: at('error'),
      warn: at('warn'),
      info: at('info'),
      debug: at('debug'),
      with: (fields) => make({ ...base, ...fields }),
    }
  }
  return make({})
}

/** A log that says nothing, for tests. */
export const silentLog: Log = createLog({ level: 'error', write: () => {} })
