// `vmrm cp`: files between this host and a VM of a running job, as scp copies them: tar over a step, so no image needs an sshd.
import { once } from 'node:events'
import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { isBatch } from '../job/run.ts'
import { type Command, readOptions, UsageError } from './command.ts'
import { archiveOf, type Complain } from './cp/archive.ts'
import { extract } from './cp/extract.ts'
import { baseName, receiveScript, sendScript } from './cp/guest-scripts.ts'
import { type Place, parsePlace } from './cp/place.ts'
import { type FoundVm, findVm, requireHere } from './find-vm.ts'
import { startStep } from './start-step.ts'

const usage = 'vmrm cp [-r] SOURCE … DESTINATION'
const failedExit = 1

type GuestPlace = Extract<Place, { side: 'guest' }>

export const cp: Command = {
  summary: 'copy files to or from a VM of a running job',
  usage,
  help: `Copies files between this host and a VM of a running job, with their modes and times, as the job's user.
  SOURCE, DESTINATION   a path here; or JOB:PATH or JOB.N:PATH, a path in VM number N (default 0) of the job, from the home
                        folder on where it does not begin with /. One side is here, the other in one VM.
                        For a batch b7:PATH or b7.N:PATH, on that VM's own node
  -r                    folders, too; links are followed
A path in a VM is data: \`*\` in it is a star. Write ./1:x for a file here that is called 1:x.
The image needs sh and tar, no ssh server. Exit code: 0, or 1 where something was not copied.`,
  async run(args) {
    const { values, positionals } = readOptions(usage, args, { recursive: { type: 'boolean', short: 'r' } })
    if (positionals.length < 2) throw new UsageError('a source and a destination are needed', usage)
    const places = positionals.map(parsePlace)
    const to = places.pop() as Place
    const recursive = values.recursive === true
    const inGuest = places.filter((place) => place.side === 'guest')
    const here = places.flatMap((place) => (place.side === 'here' ? [place.path] : []))
    if (to.side === 'guest' && inGuest.length === 0) return upload(here, to, recursive)
    const [first] = inGuest
    if (
      to.side === 'here' &&
      first !== undefined &&
      inGuest.every((place) => place.label === first.label) &&
      here.length === 0
    )
      return download(inGuest, first, to.path, recursive)
    throw new UsageError('one side must be here, and the other in one VM: JOB:PATH or JOB.N:PATH', usage)
  },
}

function complaints(): { complain: Complain; count: () => number } {
  let count = 0
  const complain: Complain = (path, problem) => {
    count += 1
    process.stderr.write(`vmrm: ${path.replace(/\p{Cc}/gu, '?')}: ${problem}\n`)
  }
  return { complain, count: () => count }
}

async function upload(paths: readonly string[], to: GuestPlace, recursive: boolean): Promise<number> {
  const { complain, count } = complaints()
  const kind = paths.length > 1 ? 'many' : (await isFolder(paths[0] ?? '')) ? 'folder' : 'file'
  const target = kind === 'folder' ? to.path.replace(/(?<=.)\/+$/, '') : to.path
  const step = await startStep(await vmOf(to), ['sh', '-c', receiveScript, 'sh', to.label, kind, target])
  const lines = createInterface({ input: step.stdout })
  const answer = await Promise.race([once(lines, 'line').then(([line]) => String(line)), step.ended.then(() => '')])
  if (answer === 'folder' || answer === 'name') {
    const nameOf = (path: string) => (answer === 'name' ? baseName(target) : basename(resolve(path)))
    const sources = paths.map((path) => ({ path, name: `./${nameOf(path)}` }))
    // A tar that gives up closes its stdin; what it said stands on stderr.
    await pipeline(Readable.from(archiveOf(sources, { recursive, complain })), step.stdin).catch(ignoreEndOfPipe)
  } else step.stdin.end()
  return (await step.ended) === 0 && answer !== '' && count() === 0 ? 0 : failedExit
}

async function download(from: readonly GuestPlace[], at: GuestPlace, to: string, recursive: boolean): Promise<number> {
  const { complain, count } = complaints()
  const how = (await isFolder(to)) ? 'inside' : 'as'
  if (how === 'as' && (from.length > 1 || to.endsWith('/'))) {
    complain(to, 'Not a directory')
    return failedExit
  }
  const paths = from.map((place) => place.path)
  const step = await startStep(await vmOf(at), ['sh', '-c', sendScript, 'sh', at.label, recursive ? 'r' : '', ...paths])
  step.stdin.end()
  try {
    await extract(step.stdout, { path: to, how, names: paths.map(baseName) }, complain)
  } catch (error) {
    step.stdout.destroy()
    throw error
  }
  return (await step.ended) === 0 && count() === 0 ? 0 : failedExit
}

async function vmOf(place: GuestPlace): Promise<FoundVm> {
  const vm = await findVm(place.job, place.vm)
  // There is no job to carry a step to another node.
  if (isBatch({ job: vm.job.id })) requireHere(vm, { what: 'the way into it', command: 'vmrm cp …' })
  return vm
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (status) => status.isDirectory(),
    () => false,
  )
}

function ignoreEndOfPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE' && error.code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error
}
