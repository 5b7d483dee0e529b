// The packages of the tiny image. It owns their names; which versions those are, apt says (packages.ts).
import { VmrmError } from '../../lib/errors/vmrm-error.ts'
import { runTool } from './tools.ts'

/** The package whose one dependency is the kernel to use. */
const kernelMetapackage = 'linux-image-cloud-amd64'

/** Libraries are named one by one: a resolver would bring debconf, perl and python. root-tree.ts finds gaps. */
const names = [
  ...['libc6', 'libc-bin', 'libcrypt1', 'libgmp10', 'libacl1', 'libattr1', 'libselinux1', 'libpcre2-8-0', 'libtinfo6'],
  ...['libsmartcols1', 'libmount1', 'libblkid1', 'libuuid1', 'libproc2-0', 'libncursesw6', 'zlib1g', 'libcap-ng0'],
  ...['libudev1', 'libsystemd0', 'libpam0g', 'libaudit1', 'libcap2', 'liblzma5', 'libzstd1', 'liblz4-1', 'libgcrypt20'],
  ...['libgpg-error0', 'libkmod2', 'libssl3', 'libreadline8'],
  ...['bash', 'dash', 'coreutils', 'util-linux', 'procps', 'sed', 'grep', 'mawk', 'findutils', 'tar', 'gzip'],
  ...['diffutils', 'hostname', 'mount', 'kmod', 'busybox-static', 'base-files', 'ncurses-base'],
  ...['openssh-server', 'openssh-client', 'libwrap0', 'libnsl2'],
  ...['nfs-common', 'libtirpc3', 'libtirpc-common', 'libgssapi-krb5-2', 'libkrb5-3', 'libk5crypto3', 'libcom-err2'],
  ...['libkrb5support0', 'libkeyutils1'],
]

async function kernelPackage(): Promise<string> {
  const text = await runTool('apt-cache', ['show', '--no-all-versions', kernelMetapackage])
  const name = /^Depends: (linux-image-\S+)/m.exec(text)?.[1]
  if (name !== undefined) return name
  throw new VmrmError('command-failed', `building an image: ${kernelMetapackage} names no kernel package`)
}

/** What tiny is made of: the kernel that Debian has now, and the rest by name. */
export const wantedOfTiny = async (): Promise<readonly string[]> => [await kernelPackage(), ...names]
