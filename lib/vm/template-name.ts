// The domain name of a template that is being made: no run's name, so that a stray one is known for what it is.

/** Hexadecimal digits of the key that the name keeps: the name and a letter in front must fit into a device's 15 characters. */
const keyDigits = 12

/** `t0123456789ab`, of a template's key: a hash, in hexadecimal. Throws RangeError for anything else. */
export function templateName(key: string): string {
  if (!/^[0-9a-f]{12,}$/.test(key)) throw new RangeError(`${key} is no key of a template`)
  return `t${key.slice(0, keyDigits)}`
}

export function isTemplateName(name: string): boolean {
  return /^t[0-9a-f]{12}$/.test(name)
}

/** The tap of a VM that becomes a template: it stays down and in no bridge, so that the guest reaches nobody. */
export function templateTapName(template: string): string {
  return `v${template}`
}
