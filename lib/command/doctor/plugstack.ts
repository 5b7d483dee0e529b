// Which plugstack.conf line loads the plug-in, includes followed as Slurm does (plugstack.conf(5)).
import { glob, readFile } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'

export interface PlugstackLine {
  readonly file: string
  readonly necessity: 'required' | 'optional'
}

const maxDepth = 8

/** The line that names `plugin`; undefined where there is none. Throws what reading the first file throws. */
export async function findPlugstackLine(path: string, plugin: string): Promise<PlugstackLine | undefined> {
  return search({ path, text: await readFile(path, 'utf8'), plugin, depth: 0 })
}

async function search(options: {
  path: string
  text: string
  plugin: string
  depth: number
}): Promise<PlugstackLine | undefined> {
  const { path, plugin, depth } = options
  for (const line of options.text.split('\n')) {
    const [keyword = '', argument = ''] = (line.split('#')[0] ?? '').trim().split(/\s+/)
    if ((keyword === 'required' || keyword === 'optional') && argument === plugin)
      return { file: path, necessity: keyword }
    if (keyword !== 'include' || depth === maxDepth) continue
    const pattern = isAbsolute(argument) ? argument : join(dirname(path), argument)
    for await (const included of glob(pattern)) {
      const text = await readFile(included, 'utf8').catch(() => '')
      const found = await search({ path: included, text, plugin, depth: depth + 1 })
      if (found !== undefined) return found
    }
  }
  return undefined
}
