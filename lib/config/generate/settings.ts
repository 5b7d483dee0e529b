// Lists every element and attribute of a configuration schema, with values and defaults, for the reference and the manual
// pages. Pure; what each is for is in the descriptions.
import { z } from 'zod'
import { layouts } from '../../protocol/schema/fields.ts'
import { xmlName } from '../../protocol/schema/shape.ts'

export interface Setting {
  /** `hypervisor/@socket` for an attribute, `hypervisor` for an element. */
  readonly path: string
  readonly kind: 'attribute' | 'element'
  /** What may stand there; empty for elements. */
  readonly value: string
  readonly presence: 'required' | 'optional' | 'any number'
  /** As it would be written; by variant where variants differ. Undefined: none. */
  readonly standard: string | undefined
}

/** With what it is for. */
export interface DescribedSetting extends Setting {
  readonly description: string
}

type Field = { readonly schema: z.ZodType; readonly presence: Setting['presence']; readonly standard?: unknown }

function unwrap(schema: z.ZodType): Field {
  if (schema instanceof z.ZodDefault)
    return { ...unwrap(schema.unwrap() as z.ZodType), presence: 'optional', standard: schema.def.defaultValue }
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodPrefault)
    return { ...unwrap(schema.unwrap() as z.ZodType), presence: 'optional' }
  return { schema, presence: 'required' }
}

/** The words a pattern was given for people, such as `an absolute path`. */
function patternText(schema: z.ZodType): string | undefined {
  for (const check of schema._zod.def.checks ?? []) {
    const { error } = check._zod.def as unknown as { error?: (issue: object) => unknown }
    const text = error?.({})
    if (typeof text === 'string') return text
  }
  return undefined
}

/** What a scalar may be, in words. */
function valueText(schema: z.ZodType): string {
  if (schema instanceof z.ZodLiteral) return [...schema.values].map((value) => `"${value}"`).join(', ')
  if (schema instanceof z.ZodEnum) return schema.options.map((value) => `"${value}"`).join(', ')
  if (schema instanceof z.ZodBoolean) return '"true", "false"'
  if (schema instanceof z.ZodNumber) return `number from ${schema.minValue} to ${schema.maxValue}`
  if (schema instanceof z.ZodIPv4) return 'an IPv4 address'
  const pattern = patternText(schema)
  if (pattern !== undefined) return pattern
  const isLimited = schema instanceof z.ZodString && schema.maxLength !== null
  return isLimited ? `text, at most ${schema.maxLength} characters` : 'text'
}

function elementSettings(schema: z.ZodType, path: string): Setting[] {
  if (schema instanceof z.ZodDiscriminatedUnion) return unionSettings(schema, path)
  if (!(schema instanceof z.ZodObject)) return []
  return Object.entries(schema.shape as Record<string, z.ZodType>).flatMap(([field, raw]) =>
    fieldSettings(path, xmlName(field), unwrap(raw)),
  )
}

function fieldSettings(path: string, name: string, { schema, presence, standard }: Field): Setting[] {
  const element = (elementName: string, content: z.ZodType, occurs: Setting['presence']): Setting[] => [
    { path: `${path}${elementName}`, kind: 'element', value: '', presence: occurs, standard: undefined },
    ...elementSettings(content, `${path}${elementName}/`),
  ]
  if (schema instanceof z.ZodArray) {
    const layout = layouts.get(schema)
    return element(layout?.as === 'list' ? layout.element : name, schema.element as z.ZodType, 'any number')
  }
  if (schema instanceof z.ZodObject || schema instanceof z.ZodDiscriminatedUnion) return element(name, schema, presence)
  const written = standard === undefined || standard === '' ? undefined : String(standard)
  return [{ path: `${path}@${name}`, kind: 'attribute', value: valueText(schema), presence, standard: written }]
}

/** One list for all variants; a difference is worded with the variants' names. */
function unionSettings(schema: z.ZodDiscriminatedUnion, path: string): Setting[] {
  const discriminator = schema.def.discriminator
  const variants = (schema.options as readonly z.ZodObject[]).map((option) => ({
    name: String([...(option.shape[discriminator] as z.ZodLiteral).values][0]),
    settings: elementSettings(option, path),
  }))
  const names = [...new Set(variants.flatMap(({ settings }) => settings.map((setting) => setting.path)))]
  return names.map((name) => {
    const found = variants.flatMap((variant) =>
      variant.settings
        .filter((setting) => setting.path === name)
        .map((setting) => ({ variant: variant.name, setting })),
    )
    const [first] = found.map(({ setting }) => setting)
    if (first === undefined) throw new Error(`no setting ${name}`)
    const worded = (pick: (setting: Setting) => string | undefined): string | undefined => {
      const all = found.map(({ variant, setting }) => ({ variant, text: pick(setting) }))
      if (new Set(all.map(({ text }) => text)).size === 1) return all[0]?.text
      return all.map(({ variant, text }) => `${text ?? 'none'} (${variant})`).join(', ')
    }
    const isEverywhere = found.length === variants.length
    const only = isEverywhere ? '' : `; ${found.map(({ variant }) => variant).join(', ')} only`
    const isKind = name === `${path}@${discriminator}`
    return {
      ...first,
      value: isKind ? variants.map((variant) => `"${variant.name}"`).join(', ') : `${first.value}${only}`,
      presence: found.every(({ setting }) => setting.presence === 'required') ? 'required' : 'optional',
      standard: worded((setting) => setting.standard),
    } as const
  })
}

/** Everything below the root element, in the order of the schema. */
export function settingsOf(schema: z.ZodObject): readonly Setting[] {
  return elementSettings(schema, '')
}
