// The OpenAI SDK for JavaScript: one client object, whoever asks. It calls tools by itself, with runTools.

import { readFileSync } from 'node:fs'
import OpenAI from 'openai'
import { VERSION } from 'openai/version'

const plan = JSON.parse(readFileSync(0, 'utf8'))
const tell = (line) => console.log(JSON.stringify(line))
tell({ client: 'openai', version: VERSION })

const client = new OpenAI({ baseURL: `${plan.url}/v1`, apiKey: 'set for each turn', defaultHeaders: plan.headers })

const say = async (completions, asked) => {
  const { data, response } = await completions.create(asked).withResponse()
  let text = ''
  if (plan.stream) for await (const piece of data) text += piece.choices[0]?.delta.content ?? ''
  else text = data.choices[0].message.content
  return { text, headers: response.headers }
}

const sayWithTools = async (completions, asked) => {
  const call = ({ city }) => `12 degrees in ${city}`
  const tools = [{ type: 'function', function: { ...plan.tool, function: call, parse: JSON.parse } }]
  return { text: await completions.runTools({ ...asked, tools }).finalContent(), headers: new Headers() }
}

for (const turn of plan.turns) {
  const { completions } = client.withOptions({ apiKey: turn.token }).chat
  const asked = { model: 'm', messages: [{ role: 'user', content: turn.text }], stream: plan.stream }
  const { text, headers } = await (plan.tool ? sayWithTools : say)(completions, asked)
  tell({
    text,
    receipt: headers.get('Backstory-Memory'),
    conversation: headers.get('Backstory-Conversation'),
  })
}
