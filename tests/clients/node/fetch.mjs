// Plain fetch, as Node.js brings it: no package, and no cookies.

import { readFileSync } from 'node:fs'

const plan = JSON.parse(readFileSync(0, 'utf8'))
const tell = (line) => console.log(JSON.stringify(line))
tell({ client: 'node', version: process.versions.node })

const read = (body) => {
  if (!plan.stream) return JSON.parse(body).choices[0].message.content
  const events = body.split('\n').filter(Boolean).map((line) => line.replace(/^data: /, ''))
  if (events.pop() !== '[DONE]') throw new Error('the stream has no end')
  return events.map((event) => JSON.parse(event).choices[0]?.delta.content ?? '').join('')
}

for (const turn of plan.turns) {
  const answer = await fetch(`${plan.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', Authorization: `Bearer ${turn.token}`, ...plan.headers },
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: turn.text }], stream: plan.stream }),
  })
  if (!answer.ok) throw new Error(`status ${answer.status}`)
  tell({
    text: read(await answer.text()),
    receipt: answer.headers.get('Backstory-Memory'),
    conversation: answer.headers.get('Backstory-Conversation'),
  })
}
