// The same, sending all that was said: of a reply it sends no more than the ids of its items.

import { createOpenAI } from '@ai-sdk/openai'
import { run } from './ai_turns.mjs'

await run(createOpenAI, () => ({}), { keeps: true })
