// The last part of docs/internals/transactions.md, made from the tables of steps and kill points; nothing may stand below it.
// Run, it writes the page.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { steps } from '../../lib/daemon/steps.ts'
import { batchPoints } from '../batches/kill-points.ts'
import { controllerScenarios, killPoints, nodeScenarios } from './kill-points.ts'
import { pairs } from './plays.ts'

export const pagePath = join(import.meta.dirname, '../../docs/internals/transactions.md')
const mark = '<!-- Made by test/crash/list.ts from the tables in the code. -->'

/** The page with its list as the tables have it. */
export function withList(page: string): string {
  const [points, ofBatches] = [killPoints(), batchPoints()]
  const rows = Object.entries(steps).map(([step, [who, state]]) => {
    const [ofJob, ofBatch] = [points, ofBatches].map((all) => victimsAt(step, all))
    return `| \`${step}\` | ${who} | ${state} | ${ofJob} | ${ofBatch} |`
  })
  const list = [
    mark,
    '## Kill points',
    `Each step by name, who takes it, what is true then, and who is killed there with what becomes of the job: ${points.length} kill points in ${nodeScenarios.length + controllerScenarios.length} jobs, after each of which the leak ledger of its nodes must be as before. \`all\`: it runs in all its VMs. \`none\`: it fails with one reason. \`again\`: Slurm requeues it. Beside these, QEMU of each of eight VMs.`,
    `Here, as in \`npm test\`, ${countOf(points)}. \`test/crash/campaign --pairs\` goes through all ${pairs.length} pairs of a step and somebody who can be killed there: ${countOf(pairs)}.`,
    `The same of a batch: ${ofBatches.length}, the ledger after each batch. \`all\`: all its VMs are there. \`none\`: nothing is left, with one reason. \`gone\`: destroyed, it leaves nothing. \`client\` is \`vmrm create\`. No hook is run for one, and \`batch.recorded\` and \`batch.telling\` are steps of batches only. Beside these, QEMU of a VM, and a node with all it runs.`,
    '',
    '| step | taken by | what is true | killed there, of a job | of a batch |',
    '|---|---|---|---|---|',
    ...rows,
    '',
  ]
  return page.slice(0, page.indexOf(mark)) + list.join('\n')
}

function countOf(points: readonly { readonly victim: string }[]): string {
  const victims = [...new Set(points.map(({ victim }) => victim))].sort()
  return victims.map((who) => `${who} at ${points.filter(({ victim }) => victim === who).length}`).join(', ')
}

function victimsAt(
  step: string,
  points: readonly { readonly step: string; readonly victim: string; readonly outcomes: readonly string[] }[],
): string {
  return points
    .filter((point) => point.step === step)
    .map(({ victim, outcomes }) => `${victim}: ${outcomes.join(' or ')}`)
    .join('; ')
}

if (import.meta.main) writeFileSync(pagePath, withList(readFileSync(pagePath, 'utf8')))
