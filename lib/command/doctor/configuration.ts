// vmrmd.xml, the catalogue, and the off switch.
import { access } from 'node:fs/promises'
import { VmrmError } from '../../errors/vmrm-error.ts'
import { entriesOf, staticProblems } from '../image/check.ts'
import { type Check, type Finding, fail, ok, problemsOr, roles, warn } from './check.ts'

const offSwitchPath = '/etc/vmrm/off'

/** vmrmd.xml itself is read before any check; see doctor.ts. */
const configuration: Check = {
  name: 'configuration',
  roles,
  async run({ configPath, config }) {
    return [ok(`${configPath}: cluster ${config.cluster.name}, controller ${config.controller.host}`)]
  },
}

const catalogue: Check = {
  name: 'catalogue',
  roles: ['node', 'controller'],
  async run({ config, roles: own }) {
    const folder = config.paths.images
    const entries = entriesOf(folder)
    if (entries.length === 0)
      return [
        warn(`${folder} has no entry`, 'There is no image that a job could name.', `Put an entry there: images.d(5).`),
      ]
    const problems: Finding[] = []
    for (const { path, image } of entries) {
      if (image instanceof VmrmError) {
        problems.push(fail(image.message, 'The image is left out of the catalogue.', `vmrm image check ${path}`))
        continue
      }
      // Masters need not be on the controller's host.
      if (!own.has('node')) continue
      for (const { severity, text } of await staticProblems({ image, catalogue: entries, config })) {
        if (severity === 'error')
          problems.push(
            fail(
              `image ${image.name}: ${text}`,
              'Jobs with this image fail on this node.',
              `vmrm image check ${image.name}`,
            ),
          )
      }
    }
    return problemsOr(`${folder}: ${entries.length} images`, problems)
  },
}

const offSwitch: Check = {
  name: 'off-switch',
  roles,
  async run() {
    const isOff = await access(offSwitchPath).then(
      () => true,
      () => false,
    )
    if (!isOff) return [ok(`${offSwitchPath} is not there`)]
    return [
      warn(
        `${offSwitchPath} is there: vmrm is switched off on this host`,
        'The hooks do nothing; VM jobs that come to this host fail with a sentence.',
        `rm ${offSwitchPath}`,
      ),
    ]
  },
}

export const configurationChecks: readonly Check[] = [configuration, catalogue, offSwitch]
