import t from 'tap'
import { requireKnown } from '../../lib/command/image/templates.ts'
import type { ErrorCode } from '../../lib/errors/catalogue.ts'
import { VmrmError } from '../../lib/errors/vmrm-error.ts'

t.test('where no node had a template, only a name that the catalogue does not have is an error', async (t) => {
  const failing = (code: ErrorCode) => async (name: string) => {
    throw new VmrmError(code, `about ${name}`)
  }
  await t.rejects(requireKnown('tinny', failing('image-unknown')), {
    code: 'image-unknown',
    message: 'no node that was asked has a template of image tinny, and the catalogue has no such image',
    hint: /vmrm image templates/,
  })
  await t.resolves(requireKnown('tiny', failing('controller-unreachable')), 'the nodes have answered')
  await t.resolves(requireKnown('tiny', async () => '<image/>'))
})
