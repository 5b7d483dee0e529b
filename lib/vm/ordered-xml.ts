// How domain XML is read and written where its order and its text must stay: fast-xml-parser's ordered form. Data only.

/** One node: a name with its children, and `:@` with its attributes. */
export type OrderedNode = Record<string, OrderedNode[] | Record<string, string>>

export const orderedXml = {
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: '',
  parseTagValue: false,
  parseAttributeValue: false,
  processEntities: false, // text stays as it was written, so that it need not be escaped again
} as const
