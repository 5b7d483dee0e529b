// `vmrm image`: the catalogue, and the templates that nodes keep of it.
import { type Command, UsageError } from './command.ts'

const usage = `vmrm image list [--json]
vmrm image show NAME
vmrm image check [--no-checksum] [NAME|FILE …]
vmrm image templates [--node NODES]… [--json]
vmrm image warm NAME [--node NODES]… [--cpus N --memory MIB] [--user USER]
vmrm image forget NAME|--all [--node NODES]…`

export const image: Command = {
  summary: 'images: list, show, check; their templates: list, warm, forget',
  usage,
  help: `list    the images of this cluster; those that you may use, and how large a VM of each can be
show    the catalogue entry of an image, as its XML
check   for administrators, on a node: everything that is wrong with these entries (default: with all), files included.
        NAME is an image, FILE an entry that is not in the catalogue yet. Run it as root: it then tries the files as
        QEMU's users. --no-checksum leaves the checksums of the masters out, which take a minute for 20 GB.
        Exit code 0: nothing is wrong (there may be warnings); 78: something is.
The rest is for root and SlurmUser, on a host that reaches the nodes' vmrmd; NODES is a host list, default: all that are up.
templates  what nodes keep to clone VMs from: for which size, how large, made and used when (UTC), and why stale ones are
warm       make a template for VMs of that size (of what the hypervisor gives them, see \`MEMORY\` in \`templates\`), and wait
           for it; without a size for each that the node has, or had, a template of. --user: of an image that keeps users apart
forget     remove the templates of an image; the next job makes one again`,
  async run([verb, ...rest]) {
    switch (verb) {
      case 'list':
        return (await import('./image/list.ts')).listImages(rest)
      case 'show':
        return (await import('./image/show.ts')).showImage(rest)
      case 'check':
        return (await import('./image/check.ts')).checkImages(rest)
      case 'templates':
        return (await import('./image/templates.ts')).listTemplates(rest)
      case 'warm':
        return (await import('./image/warm.ts')).warmImage(rest)
      case 'forget':
        return (await import('./image/templates.ts')).forgetTemplates(rest)
      default:
        throw new UsageError(
          verb === undefined ? 'list, show, check, templates, warm or forget?' : `there is no vmrm image ${verb}`,
          usage,
        )
    }
  },
}
