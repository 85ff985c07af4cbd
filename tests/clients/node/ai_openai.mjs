// The AI SDK with @ai-sdk/openai, which asks Responses unless it is told otherwise.

import { createOpenAI } from '@ai-sdk/openai'
import { run } from './ai_turns.mjs'

const options = (plan, previousResponseId) => ({ openai: plan.chain ? { previousResponseId } : {} })

await run(createOpenAI, options)
