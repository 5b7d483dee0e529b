// The last part of docs/internals/transactions.md, made from the tables of steps and kill points; nothing may stand below it.
// Run, it writes the page.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { steps } from '../../lib/daemon/steps.ts'
import { killPoints } from './kill-points.ts'

export const pagePath = join(import.meta.dirname, '../../docs/internals/transactions.md')
const mark = '<!-- Made by test/crash/list.ts from the tables in the code. -->'

/** The page with its list as the tables have it. */
export function withList(page: string): string {
  const points = killPoints()
  const rows = Object.entries(steps).map(([step, [who, state]]) => {
    const victims = points
      .filter((point) => point.step === step)
      .map(({ victim, outcomes }) => `${victim}: ${outcomes.join(' or ')}`)
    return `| \`${step}\` | ${who} | ${state} | ${victims.join('; ')} |`
  })
  const list = [
    mark,
    '## Kill points',
    `Each step by name, who takes it, what is true then, and who is killed there with what becomes of the job: ${points.length} kill points. \`all\`: it runs in all its VMs. \`none\`: it fails with one reason. \`again\`: Slurm requeues it. Beside these, QEMU of each of eight VMs.`,
    '',
    '| step | taken by | what is true | killed there |',
    '|---|---|---|---|',
    ...rows,
    '',
  ]
  return page.slice(0, page.indexOf(mark)) + list.join('\n')
}

if (import.meta.main) writeFileSync(pagePath, withList(readFileSync(pagePath, 'utf8')))
