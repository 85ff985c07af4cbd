// The AI SDK (npm: ai) with one of its providers: generateText and streamText, which call tools by themselves.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'

const tell = (line) => console.log(JSON.stringify(line))

// `create` makes a provider from its options; `options` are those of a request, after the last one's response id.
// With `keeps`, each token's messages are kept here and all of them sent, as chat UIs do it.
export const run = async (create, options = () => ({}), { keeps = false } = {}) => {
  const plan = JSON.parse(readFileSync(0, 'utf8'))
  tell({ client: 'ai', version: createRequire(import.meta.url)('ai/package.json').version })
  const more = {}
  if (plan.tool) {
    const { name, description, parameters } = plan.tool
    const execute = ({ city }) => `12 degrees in ${city}`
    more.tools = { [name]: tool({ description, inputSchema: jsonSchema(parameters), execute }) }
    more.stopWhen = stepCountIs(5)
  }
  const latest = new Map()
  const transcripts = new Map()
  for (const turn of plan.turns) {
    const provider = create({ baseURL: `${plan.url}/v1`, apiKey: turn.token, headers: plan.headers })
    const messages = [...(transcripts.get(turn.token) ?? []), { role: 'user', content: turn.text }]
    const question = {
      model: provider('m'),
      messages,
      providerOptions: options(plan, latest.get(turn.token)),
      ...more,
    }
    const result = plan.stream ? streamText(question) : await generateText(question)
    const text = await result.text
    const { headers, id, messages: replied } = await result.response
    latest.set(turn.token, id)
    if (keeps) transcripts.set(turn.token, [...messages, ...replied])
    tell({
      text,
      receipt: headers['backstory-memory'] ?? null,
      conversation: headers['backstory-conversation'] ?? null,
    })
  }
}
