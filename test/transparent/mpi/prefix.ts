// Open MPI and MPICH of Debian in a folder of their own, with the test programs built against each: what a cluster's home needs so that a guest
// without MPI can run them. It owns one folder in the cache; it installs nothing.
import { createHash } from 'node:crypto'
import { mkdir, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { command } from '../../cluster/exec.ts'
import { fetchPackages, resolvePackages } from '../../images/packages.ts'

/** Named one by one: a resolver would bring compilers, X, and drivers of networks that no VM here has. */
const packages = [
  ...['openmpi-bin', 'openmpi-common', 'libopenmpi3', 'libopenmpi-dev', 'libpmix2', 'libmunge2', 'libltdl7'],
  ...['libevent-core-2.1-7', 'libevent-pthreads-2.1-7', 'libhwloc15', 'libudev1', 'zlib1g', 'libcap2', 'libgcc-s1'],
  ...['mpich', 'libmpich12', 'libmpich-dev', 'libucx0', 'libnuma1', 'libatomic1', 'libibverbs1', 'librdmacm1'],
  ...['libnl-3-200', 'libnl-route-3-200', 'libslurm38', 'libgfortran5', 'libquadmath0', 'libstdc++6'],
]
const libraries = 'usr/lib/x86_64-linux-gnu'
/** Each in the flavours that something runs it in. */
const programs = { check: ['openmpi', 'mpich'], 'ping-pong': ['openmpi'] } as const

/** `sh MPI/run COMMAND …` runs a command that finds both MPIs, wherever the folder lies. */
const runScript = `#!/bin/sh
MPI=$(cd "$(dirname "$0")" && pwd); L=$MPI/${libraries}
export LD_LIBRARY_PATH=$L:$L/openmpi/lib:$L/pmix2/lib:$MPI/lib/x86_64-linux-gnu PATH=$MPI:$MPI/usr/bin:$PATH
export OPAL_PREFIX=$MPI/usr OPAL_LIBDIR=$L/openmpi/lib OPAL_PKGLIBDIR=$L/openmpi/lib/openmpi3
export OPAL_SYSCONFDIR=$MPI/etc/openmpi OPAL_PKGDATADIR=$MPI/usr/share/openmpi PMIX_INSTALL_PREFIX=$L/pmix2
# PMIx looks for the text of this warning where it was built.
export PMIX_MCA_pcompress_base_silence_warning=1
# With more ranks than CPUs they must not spin while they wait.
export OMPI_MCA_mpi_yield_when_idle=1
exec "$@"
`

/** hydra starts its helper by its path, over ssh too, where no variable comes along. */
const proxyScript = `#!/bin/sh
exec "$(dirname "$0")/../../run" "$0.bin" "$@"
`

/** Parts that no test needs: headers, other languages, and components whose libraries are not here. */
async function prune(folder: string): Promise<void> {
  const components = join(folder, libraries, 'openmpi/lib/openmpi3')
  const unused = (await readdir(components)).filter((name) => /_(psm2?|ofi|openib|ucx|flux)\.so$/.test(name))
  const archives = (await readdir(join(folder, libraries))).filter((name) =>
    /\.a$|^fortran$|libmpich(cxx|fort)\./.test(name),
  )
  const paths = [
    ...unused.map((name) => join(components, name)),
    ...archives.map((name) => join(folder, libraries, name)),
    ...['usr/include', 'usr/share/doc', 'usr/share/man'].map((name) => join(folder, name)),
  ]
  for (const path of paths) await rm(path, { recursive: true, force: true })
}

async function compile(folder: string): Promise<void> {
  const at = (...path: string[]): string => join(folder, libraries, ...path)
  const flavours = {
    openmpi: [`-I${at('openmpi/include')}`, `-L${at('openmpi/lib')}`, '-lmpi'],
    mpich: [`-I${join(folder, 'usr/include/x86_64-linux-gnu/mpich')}`, '-lmpich'],
  }
  for (const [program, built] of Object.entries(programs)) {
    for (const flavour of built) {
      const output = ['-o', join(folder, `${program}.${flavour}`), join(import.meta.dirname, `${program}.c`)]
      const link = [`-L${at()}`, `-Wl,-rpath-link,${at()}`, '-lm']
      await command([
        '/usr/bin/gcc',
        '-std=c11',
        '-O2',
        '-Wall',
        '-Wextra',
        '-Werror',
        ...output,
        ...flavours[flavour],
        ...link,
      ])
    }
  }
}

async function build(folder: string, debs: readonly string[]): Promise<void> {
  for (const deb of debs) await command(['/usr/bin/dpkg-deb', '-x', deb, folder])
  await compile(folder)
  await prune(folder)
  // What Debian's alternatives would name: Open MPI has `mpirun`, MPICH is called `mpiexec.hydra`.
  await symlink('mpirun.openmpi', join(folder, 'usr/bin/mpirun'))
  await writeFile(join(folder, 'run'), runScript, { mode: 0o755 })
  const proxy = join(folder, 'usr/bin/hydra_pmi_proxy')
  await rename(proxy, `${proxy}.bin`)
  await writeFile(proxy, proxyScript, { mode: 0o755 })
}

/** The folder in the cache, built where it is missing or its packages or programs are others. */
async function cached(cache: string): Promise<string> {
  const signal = AbortSignal.timeout(300_000)
  const found = await resolvePackages(async () => packages, signal)
  const own = [...Object.keys(programs).map((name) => `${name}.c`), 'prefix.ts'].map((name) =>
    readFile(join(import.meta.dirname, name), 'utf8'),
  )
  const parts = [...found.map((one) => `${one.file} ${one.checksum}`), ...(await Promise.all(own))]
  const folder = join(cache, `mpi-${createHash('sha256').update(parts.join('\n')).digest('hex').slice(0, 16)}`)
  if ((await readdir(cache).catch(() => [])).some((name) => join(cache, name) === folder)) return folder
  const { files } = await fetchPackages(found, cache, signal)
  const unfinished = `${folder}.${process.pid}`
  await mkdir(unfinished, { recursive: true })
  try {
    await build(
      unfinished,
      files.map((one) => one.path),
    )
    await rename(unfinished, folder).catch((error: NodeJS.ErrnoException) => {
      // Another test was faster; its folder is the same.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
  return folder
}

/** Puts both MPIs and the test programs (`check.openmpi`, `ping-pong.openmpi`, …) into this new folder. Files are shared with the cache: nothing may write to them. */
export async function placeMpi(folder: string, cache = '/var/tmp/vmrm-packages'): Promise<void> {
  await command(['/usr/bin/cp', '-al', await cached(cache), folder])
}
