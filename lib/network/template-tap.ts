// The network card of a guest that becomes a template: a tap that stays down and is in no bridge, so that it reaches nobody.
import { deviceGroup } from './names.ts'
import { runTool } from './tools.ts'

const ours = /^vt[0-9a-f]{12}$/

/** `uid` is who may open it. One of that name is replaced. */
export async function addTemplateTap(name: string, uid: number): Promise<void> {
  await removeTemplateTap(name)
  const lines = [`tuntap add dev ${name} mode tap user ${uid}`, `link set dev ${name} group ${deviceGroup}`]
  await runTool({ tool: 'ip', args: ['-batch', '-'], input: `${lines.join('\n')}\n` })
}

/** It is fine if there is none. */
export async function removeTemplateTap(name: string): Promise<void> {
  if ((await listTemplateTaps()).includes(name)) await runTool({ tool: 'ip', args: ['link', 'delete', 'dev', name] })
}

export async function listTemplateTaps(): Promise<readonly string[]> {
  const output = await runTool({ tool: 'ip', args: ['-details', '-json', 'link', 'show'] })
  const links = JSON.parse(output) as { ifname: string; linkinfo?: { info_kind?: string } }[]
  return links.filter((link) => ours.test(link.ifname) && link.linkinfo?.info_kind === 'tun').map((link) => link.ifname)
}
