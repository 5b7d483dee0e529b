// The uid of an account, without a process where the account is a local one: sbatch waits for `vmrm check-request`.
import { readFile } from 'node:fs/promises'
import { lookUpAccount } from '../daemon/account.ts'

/** /etc/passwd first, then the name service. Throws `command-failed` where neither knows the name. */
export async function uidOf(name: string, passwdPath = '/etc/passwd'): Promise<number> {
  const text = await readFile(passwdPath, 'utf8').catch(() => '')
  for (const line of text.split('\n')) {
    const [account, , uid = ''] = line.split(':')
    if (account === name && /^\d{1,10}$/.test(uid)) return Number(uid)
  }
  return (await lookUpAccount(name)).uid
}
