// What libvirt itself says when it refuses or fails a call. It never words a lost connection: that is `libvirt-unreachable`.
import { VmrmError } from '../errors/vmrm-error.ts'
import { type errorPayload, libvirtErrorCodes } from './protocol.ts'
import type { XdrValue } from './xdr-type.ts'

/** A failure that libvirt reported: the call reached it, and this is its answer. Always of code `libvirt-error`. */
export class LibvirtError extends VmrmError {
  /** virErrorNumber, such as 42 for a domain that does not exist (see `libvirtErrorCodes`). */
  readonly libvirtCode: number
  /** virErrorDomain: which part of libvirt failed, such as 10 for its QEMU driver. */
  readonly libvirtDomain: number
  /** libvirt's own words in one line, without what was being done. */
  readonly libvirtWords: string

  constructor(action: string, payload: XdrValue<typeof errorPayload>) {
    const words = payload.message ?? `error ${payload.code} without a message`
    super('libvirt-error', `libvirt could not ${action}: ${words}`)
    this.name = 'LibvirtError'
    this.libvirtCode = payload.code
    this.libvirtDomain = payload.domain
    this.libvirtWords = words.trim().replace(/\s*\n\s*/g, '; ')
  }
}

/** Whether libvirt said that there is no such domain (any more). */
export function isNoDomain(thrown: unknown): thrown is LibvirtError {
  return thrown instanceof LibvirtError && thrown.libvirtCode === libvirtErrorCodes.noDomain
}
