// The AI SDK (npm: ai) with @ai-sdk/openai-compatible: generateText and streamText.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { generateText, streamText } from 'ai'

const plan = JSON.parse(readFileSync(0, 'utf8'))
const tell = (line) => console.log(JSON.stringify(line))
tell({ client: 'ai', version: createRequire(import.meta.url)('ai/package.json').version })

for (const turn of plan.turns) {
  const provider = createOpenAICompatible({
    name: 'backstory',
    baseURL: `${plan.url}/v1`,
    apiKey: turn.token,
    headers: plan.headers,
  })
  const question = { model: provider('m'), messages: [{ role: 'user', content: turn.text }] }
  const result = plan.stream ? streamText(question) : await generateText(question)
  const text = await result.text
  const { headers } = await result.response
  tell({
    text,
    receipt: headers['backstory-memory'] ?? null,
    conversation: headers['backstory-conversation'] ?? null,
  })
}
