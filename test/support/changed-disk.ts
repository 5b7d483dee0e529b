// A master's disk with files of a test's own in it, made without booting or mounting it. It never touches the master.
import { execa } from 'execa'

const timeout = 60_000

/** Compiles a C program that runs in any guest. */
export async function buildStatic(source: string, program: string): Promise<void> {
  await execa('gcc', ['-std=c11', '-static', '-s', '-O1', '-o', program, source], { timeout })
}

/** Makes a raw copy of a qcow2 master. */
export async function copyDisk(master: string, raw: string): Promise<void> {
  await execa('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', master, raw], { timeout })
}

/** Runs debugfs' commands on a raw disk whose root is an ext4 without partitions. */
export async function changeDisk(raw: string, commands: readonly string[]): Promise<void> {
  await execa('/usr/sbin/debugfs', ['-w', '-f', '-', raw], { input: commands.join('\n'), timeout })
}

/** The text of a file in such a raw disk. */
export async function readFromDisk(raw: string, path: string): Promise<string> {
  const { stdout } = await execa('/usr/sbin/debugfs', ['-R', `cat ${path}`, raw], { timeout })
  return stdout
}

/** debugfs' commands that put a file of this machine into the disk, in place of one that may be there. */
export function putFile(file: string, path: string, mode: string): readonly string[] {
  return [`rm ${path}`, `write ${file} ${path}`, `set_inode_field ${path} mode ${mode}`]
}
