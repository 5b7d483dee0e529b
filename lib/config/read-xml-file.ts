// Configuration and catalogue files: XML to a checked, frozen object, with file and line in every complaint.
import { readFileSync } from 'node:fs'
import type { z } from 'zod'
import { toVmrmError, VmrmError } from '../errors/vmrm-error.ts'
import { checkFields } from '../protocol/schema/check.ts'
import { readElement } from '../protocol/schema/map.ts'
import { elementShape } from '../protocol/schema/shape.ts'
import { parseXml } from '../protocol/xml/parse.ts'

/**
 * Reads `path`, whose root element must be `root`. Throws `config-invalid` naming file, line and, for an unknown name, the
 * nearest valid one. `literal` names a child of the root that is taken as text as it stands, whatever it holds.
 */
export function readXmlFile<S extends z.ZodObject>(options: {
  path: string
  root: string
  schema: S
  literal?: string
}): z.output<S> {
  const { path, root, schema, literal } = options
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new VmrmError('config-invalid', `${path} cannot be read: ${(cause as Error).message}`, { cause })
  }
  try {
    // Messages have no comments, files do; their line breaks stay, so that later lines keep their numbers.
    const bare = text.replace(/<!--[\s\S]*?-->/g, (comment) => comment.replace(/[^\n]/g, ''))
    const cut = literal === undefined ? { rest: bare, element: undefined } : cutElement(bare, literal)
    const element = parseXml(Buffer.from(cut.rest))
    if (element.name !== root) {
      throw new VmrmError('config-invalid', `Invalid message, at ${element.name}: the root element must be ${root}`)
    }
    const fields = readElement(elementShape(schema), element, root)
    if (literal !== undefined && cut.element !== undefined) fields[literal] = cut.element
    return checkFields(schema, fields, root)
  } catch (thrown) {
    throw placed(path, text, toVmrmError(thrown))
  }
}

/** Takes an element out of the text, leaving its line breaks so that later lines keep their numbers. */
function cutElement(text: string, name: string): { rest: string; element: string | undefined } {
  const match = new RegExp(`<${name}(?:\\s[^>]*)?>[\\s\\S]*</${name}>`).exec(text)
  if (match === null) return { rest: text, element: undefined }
  const [element] = match
  const rest = text.slice(0, match.index) + element.replace(/[^\n]/g, '') + text.slice(match.index + element.length)
  return { rest, element }
}

function placed(path: string, text: string, error: VmrmError): VmrmError {
  if (error.code === 'internal') return error
  const match = /^Invalid message, at ([^:]+): ([\s\S]*)$/.exec(error.message)
  if (match === null) return new VmrmError('config-invalid', `${path}: ${error.message}`, { cause: error })
  const [, where = '', problem = ''] = match
  const detail = problem.startsWith(where) ? problem : `${where}: ${problem}`
  const names = (/^[^\s:]*/.exec(detail)?.[0] ?? where).split('/')
  return new VmrmError('config-invalid', `${path}, line ${lineOf(text, names, problem)}: ${detail}`, { cause: error })
}

/** The line of the innermost element of the path that is found in the text, or of the unknown name the problem tells of. */
function lineOf(text: string, names: readonly string[], problem: string): number {
  let at = 0
  for (const name of [...names, /unknown (?:element|attribute) ([\w.:-]+)/.exec(problem)?.[1] ?? '']) {
    const bare = name.replace(/^@/, '').replace(/\[\d+\]$/, '')
    const found = bare === '' ? -1 : text.slice(at).search(new RegExp(`<${bare}[\\s/>]|\\s${bare}\\s*=`))
    if (found !== -1) at += found + 1
  }
  return text.slice(0, at).split('\n').length
}
