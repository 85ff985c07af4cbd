// The AI SDK with @ai-sdk/openai-compatible, which asks Chat Completions.

import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { run } from './ai_turns.mjs'

await run((options) => createOpenAICompatible({ name: 'backstory', ...options }))
