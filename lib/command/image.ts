// `vmrm image list|show|check`: the catalogue, for users and for administrators.
import { type Command, UsageError } from './command.ts'

const usage = 'vmrm image list [--json]\nvmrm image show NAME\nvmrm image check [--no-checksum] [NAME|FILE …]'

export const image: Command = {
  summary: 'list the images, show one, check entries of the catalogue',
  usage,
  help: `list    the images of this cluster; those that you may use, and how large a VM of each can be
show    the catalogue entry of an image, as its XML
check   for administrators, on a node: everything that is wrong with these entries (default: with all), files included.
        NAME is an image, FILE an entry that is not in the catalogue yet. Run it as root: it then tries the files as
        QEMU's users. --no-checksum leaves the checksums of the masters out, which take a minute for 20 GB.
        Exit code 0: nothing is wrong (there may be warnings); 78: something is.`,
  async run([verb, ...rest]) {
    switch (verb) {
      case 'list':
        return (await import('./image/list.ts')).listImages(rest)
      case 'show':
        return (await import('./image/show.ts')).showImage(rest)
      case 'check':
        return (await import('./image/check.ts')).checkImages(rest)
      default:
        throw new UsageError(verb === undefined ? 'list, show or check?' : `there is no vmrm image ${verb}`, usage)
    }
  },
}
