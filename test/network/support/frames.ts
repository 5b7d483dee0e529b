// Ethernet frames as hexadecimal text, each with a word of its own by which a listener knows it.
import { formatIpv4, parseIpv4 } from '../../../lib/network/ipv4.ts'
import type { RunVm } from '../../../lib/network/run-plan.ts'

export const broadcastMac = 'ff:ff:ff:ff:ff:ff'

/** Eight octets that stand in a frame's payload. */
export const word = (text: string) => Buffer.from(text.padEnd(8, '.').slice(0, 8)).toString('hex')

const mac = (text: string) => text.replaceAll(':', '')
const address = (text: string) => (parseIpv4(text) ?? 0).toString(16).padStart(8, '0')

export function ethernet(options: { to: string; from: string; type: string; payload: string }): string {
  return mac(options.to) + mac(options.from) + options.type + options.payload
}

/** An IPv4 packet of protocol 253 (for experiments) with the word as its payload. */
export function ipv4Payload(from: string, to: string, text: string): string {
  const header = `4500001c00000000 40fd0000 ${address(from)} ${address(to)}`.replaceAll(' ', '')
  let sum = 0
  for (let at = 0; at < 40; at += 4) sum += Number.parseInt(header.slice(at, at + 4), 16)
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16)
  const check = (~sum & 0xffff).toString(16).padStart(4, '0')
  return header.slice(0, 20) + check + header.slice(24) + word(text)
}

export function ipv4(options: { sender: RunVm; to: RunVm; text: string }): string {
  const { sender, to, text } = options
  const payload = ipv4Payload(sender.address, to.address, text)
  return ethernet({ to: to.mac, from: sender.mac, type: '0800', payload })
}

/** `claims` is who the ARP message says it comes from; the frame comes from `sender`. The word follows the message. */
export function arp(options: {
  sender: RunVm
  claims?: RunVm
  operation: 'request' | 'reply'
  about: string
  to?: string
  text: string
}): string {
  const { sender, claims = sender, operation, about, to = broadcastMac, text } = options
  const fixed = `000108000604${operation === 'request' ? '0001' : '0002'}`
  const target = operation === 'request' ? '000000000000' : mac(to)
  const payload = fixed + mac(claims.mac) + address(claims.address) + target + address(about) + word(text)
  return ethernet({ to, from: sender.mac, type: '0806', payload })
}

export const everyone: RunVm = { mac: broadcastMac, address: formatIpv4(0xffffffff) }
