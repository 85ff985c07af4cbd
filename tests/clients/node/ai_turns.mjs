// The AI SDK (npm: ai) with one of its providers: generateText and streamText, which call tools by themselves.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { generateText, jsonSchema, stepCountIs, streamText, tool } from 'ai'

const tell = (line) => console.log(JSON.stringify(line))

// `create` makes a provider from its options; `options` are those of a request, after the last one's response id.
export const run = async (create, options = () => ({})) => {
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
  for (const turn of plan.turns) {
    const provider = create({ baseURL: `${plan.url}/v1`, apiKey: turn.token, headers: plan.headers })
    const question = {
      model: provider('m'),
      messages: [{ role: 'user', content: turn.text }],
      providerOptions: options(plan, latest.get(turn.token)),
      ...more,
    }
    const result = plan.stream ? streamText(question) : await generateText(question)
    const text = await result.text
    const { headers, id } = await result.response
    latest.set(turn.token, id)
    tell({
      text,
      receipt: headers['backstory-memory'] ?? null,
      conversation: headers['backstory-conversation'] ?? null,
    })
  }
}
