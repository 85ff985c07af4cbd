// Ollama's client for JavaScript: a client object for each user, because it takes headers only once.

import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { Ollama } from 'ollama'

const plan = JSON.parse(readFileSync(0, 'utf8'))
const tell = (line) => console.log(JSON.stringify(line))
tell({ client: 'ollama', version: createRequire(import.meta.url)('ollama/package.json').version })

let headers // of the last answer: fetch shows them, Ollama's client does not
const see = async (...asked) => {
  const answer = await fetch(...asked)
  headers = answer.headers
  return answer
}
const tools = plan.tool ? [{ type: 'function', function: plan.tool }] : undefined
const result = ({ function: called }) => ({
  role: 'tool',
  tool_name: called.name,
  content: `12 degrees in ${called.arguments.city}`,
})

const say = async (client, messages) => {
  const answer = await client.chat({ model: 'm', messages, tools, stream: plan.stream })
  let content = ''
  const calls = []
  for await (const piece of plan.stream ? answer : [answer]) {
    content += piece.message.content
    calls.push(...(piece.message.tool_calls ?? []))
  }
  return { role: 'assistant', content, ...(calls.length ? { tool_calls: calls } : {}) }
}

for (const turn of plan.turns) {
  const client = new Ollama({
    host: plan.url,
    headers: { Authorization: `Bearer ${turn.token}`, ...plan.headers },
    fetch: see,
  })
  const messages = [{ role: 'user', content: turn.text }]
  for (;;) {
    messages.push(await say(client, messages))
    const calls = messages.at(-1).tool_calls
    if (!calls) break
    messages.push(...calls.map(result))
  }
  tell({
    text: messages.at(-1).content,
    receipt: headers.get('Backstory-Memory'),
    conversation: headers.get('Backstory-Conversation'),
  })
}
